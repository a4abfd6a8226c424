"""A neuron process of a simulated host: it answers every call as the daemon does, with the daemon's own objects.

Instances, leases, events, books, node and all decisions are real (``neuron/``, ``residency/``); ``fleet_supervisor.py``
stands in for the tasks around them. A process that is killed takes its memory with it; engines, the disk and the memory
of the devices stay, and the next process goes on with them.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple, cast

from cortex.contract.error import CortexError, ModelNotFound
from cortex.contract.event import NodeChange
from cortex.contract.instance import EndpointAnswer, InstanceReport, LoadRequest, UnloadRequest
from cortex.contract.lease import LeasePost
from cortex.contract.node import Device, RestartRequest
from cortex.contract.snapshot import NodeSnapshot
from cortex.neuron.admission import Admission
from cortex.neuron.discovery.host import Host
from cortex.neuron.event import EventCounter
from cortex.neuron.held_file import NOBODY, HeldFile
from cortex.neuron.instance import Instance, pids_of
from cortex.neuron.inventory import Inventory
from cortex.neuron.lease import ASK_INTERVAL_S, Leases, engine_counts, longest_ttl_s, serving_now
from cortex.neuron.node import Node
from cortex.neuron.refusal import Starting
from cortex.neuron.turnover import Limits
from cortex.residency.lease_book import LeaseBook
from cortex.testing.fleet_host import Nature, SimulatedHost
from cortex.testing.fleet_life import Replied
from cortex.testing.fleet_supervisor import HostSampler, SimulatedSupervisor
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.neuron.sampler import Sampler
    from cortex.neuron.supervisor import Supervisor
    from cortex.testing.fleet_referee import FleetReferee

SNAPSHOT_CODES = frozenset({"no_room", "busy", "held", "stale"})


class NodeTiming(NamedTuple):
    """A neuron's settings, in seconds and MiB."""

    ttl_s: float = 12.0
    settle_s: float = 3.0
    sample_s: float = 2.0
    grace_s: float = 1.5
    max_wait_s: float = 25.0
    drain_s: float = 12.0
    adopt_s: float = 0.5
    headroom_mb: int = 500

    def limits(self) -> Limits:
        return Limits(self.drain_s, self.grace_s, self.max_wait_s)


class Refused(NamedTuple):
    """An error answer: its code and words, when to ask again, and the node as it is now."""

    code: str
    message: str
    retry_in_s: float | None = None
    snapshot: NodeSnapshot | None = None
    known_seq: int | None = None
    reason: str = ""


class Listener(NamedTuple):
    """Somebody who reads the event stream; ``is_open`` turns false when they hear no more."""

    hear: Callable[[NodeChange, bool], None]


class NeuronProcess:
    """One life of a neuron."""

    def __init__(
        self,
        host: SimulatedHost,
        time: Timeline,
        dice: Random,
        timing: NodeTiming,
        natures: dict[str, Nature],
        witness: "FleetReferee",
        number: int,
    ) -> None:
        self.host = host
        self.number = number
        self.events = EventCounter(f"{host.name}-{number}")
        self.instances: dict[str, Instance] = {}
        self.is_ready = False
        self.listeners: list[Listener] = []
        self._time = time
        self._timing = timing
        self._is_asking = False
        devices = tuple(
            Device(index=index, name="GPU", vram_total_mb=mb, uuid=f"{host.name}/{index}")
            for index, mb in enumerate(host.total_mb)
        )
        sampler = HostSampler(host)
        self.admission = Admission(devices, timing.headroom_mb, lambda: sampler.latest, lambda: pids_of(self.instances))
        self.found = [engine for engine in host.engines.values() if engine.is_running]
        self.leases = self._open_leases(max((engine.generation for engine in self.found), default=0))
        self.supervisor = SimulatedSupervisor(
            host,
            time,
            dice,
            timing.limits(),
            self.events,
            self.instances,
            self.admission,
            sampler,
            self.leases,
            devices,
            natures,
            witness,
        )
        inventory = Inventory(host=Host(hostname=host.name, os="Linux", kernel="6"), devices=devices)
        self.node = Node(
            inventory,
            self.supervisor.details(),
            cast("Supervisor", self.supervisor),
            cast("Sampler", sampler),
            self.admission,
            self.events,
            host.clock,
            self.leases,
            headroom_mb=timing.headroom_mb,
            started_s=host.clock.now_s(),
        )
        self.supervisor.later(timing.adopt_s, self._adopt, f"{host.name}: adopts")

    def end(self) -> None:
        """Kill the process. Its engines go on, unwatched, and so do loads whose engine runs."""
        self.supervisor.is_alive = False
        self.listeners.clear()
        for engine in self.host.engines.values():
            engine.let_go()

    # What is asked

    def discovery(self, replied: Replied) -> None:
        self._answer(replied, self.node.discovery)

    def health(self, replied: Replied) -> None:
        self._answer(replied, self.node.health)

    def models(self, replied: Replied) -> None:
        self._answer(replied, lambda: (tuple(self.supervisor.reports()), self.events.start_id, self.events.event))

    def post(self, post: LeasePost, replied: Replied) -> None:
        self._answer(replied, lambda: self.node.lease(post))
        self._ask_if_contended()

    def endpoint(self, model: str, gateway: str, replied: Replied) -> None:
        def answer() -> EndpointAnswer:
            if model not in self.instances:
                raise ModelNotFound(f"no model '{model}' on this node", model_id=model)
            reach = self.instances[model].reach()
            slots = self.leases.hold(gateway, model)
            self.supervisor.witness.held(self.host.name, gateway)
            return EndpointAnswer(
                url=reach.url, generation=reach.generation, engine_model=reach.engine_model, slots=slots
            )

        self._answer(replied, answer)

    def load(self, request: LoadRequest, replied: Replied) -> None:
        if self.is_ready:
            self.supervisor.load(request, lambda answer: replied(self._refusal(answer)))
        else:
            replied(self._refusal(Starting()))

    def unload(self, request: UnloadRequest, replied: Replied) -> None:
        if self.is_ready:
            self.supervisor.unload(request, lambda answer: replied(self._refusal(answer)))
        else:
            replied(self._refusal(Starting()))

    def restart(self, harness: str, request: RestartRequest, replied: Replied) -> None:
        if self.is_ready:
            self.supervisor.restart(harness, request, lambda answer: replied(self._refusal(answer)))
        else:
            replied(self._refusal(Starting()))

    def listen(self, listener: Listener, since: tuple[str, int]) -> bool:
        """Open an event stream from what was seen last; False while it starts."""
        if not self.is_ready:
            return False
        feed = self.node.feed
        if since[0] == self.events.start_id and feed.since(since[1]) is not None:
            for change in feed.after(since[1]):
                listener.hear(change, False)
        else:
            listener.hear(feed.whole(), True)
        self.listeners.append(listener)
        return True

    # What it does by itself

    def _adopt(self) -> None:
        supervisor = self.supervisor
        for model, pinned in self.host.pins.items():
            self.instances.setdefault(model, Instance(model)).pin = pinned
        newest: dict[str, int] = {}
        for engine in self.found:
            newest[engine.model] = max(newest.get(engine.model, 0), engine.generation)
        for engine in self.found:
            if engine.is_running and engine.generation == newest[engine.model]:
                supervisor.adopt(engine)
            elif engine.is_running:
                supervisor.end_engine(engine, is_forced=True)
        self.is_ready = True
        supervisor.sample()
        self.events.watch(self._tell)
        supervisor.witness.adopts(supervisor)
        supervisor.later(self._timing.sample_s, self._sample)

    def _sample(self) -> None:
        self.supervisor.sample()
        self.supervisor.relieve()
        self._ask_if_contended()
        self.supervisor.later(self._timing.sample_s, self._sample)

    def _ask_if_contended(self) -> None:
        """Have the engines asked whether a slot is free by now, as ``Leases.run`` does."""
        if self.is_ready and self.leases.book.is_contended() and not self._is_asking:
            self._is_asking = True
            self.supervisor.later(ASK_INTERVAL_S, self._ask)

    def _ask(self) -> None:
        self._is_asking = False
        self.supervisor.look()
        self._ask_if_contended()

    def _tell(self) -> None:
        """Tell the newest change to everybody who listens."""
        changes = self.node.feed.after(self.events.event - 1)
        for listener in tuple(self.listeners):
            listener.hear(changes[-1], False)

    def _answer(self, replied: Replied, answer: Callable[[], object]) -> None:
        try:
            outcome = answer() if self.is_ready else Starting()
        except CortexError as error:
            outcome = error
        replied(self._refusal(outcome))

    def _refusal(self, answer: object) -> object:
        """Return an answer as it goes out: an error with what its body tells."""
        if not isinstance(answer, CortexError):
            return answer
        retry, seq = answer.details.get("retry_in_s"), answer.details.get("seq")
        return Refused(
            answer.code,
            answer.message,
            float(retry) if isinstance(retry, int | float) else None,
            self.node.snapshot() if answer.code in SNAPSHOT_CODES else None,
            seq if isinstance(seq, int) else None,
            str(answer.details.get("reason", "")),
        )

    def _open_leases(self, found_up_to: int) -> Leases:
        timing, held = self._timing, HeldFile(self.host.disk)
        book = LeaseBook(
            ttl_s=timing.ttl_s,
            cancel_settle_s=timing.settle_s,
            known_from_s=self.host.clock.now_s() + longest_ttl_s(self.host.disk, timing.ttl_s),
        )
        return Leases(
            book,
            self.events,
            self.host.clock,
            lambda: serving_now(self.instances, lambda one: held.held_before(one) if one <= found_up_to else NOBODY),
            lambda: engine_counts(self.instances),
            held,
        )


def report_of(reports: tuple[InstanceReport, ...], model: str) -> InstanceReport | None:
    """Return what a list of models says of one."""
    return next((report for report in reports if report.id == model), None)
