"""One gateway of a simulated fleet: the real dispatcher, and around it what ``gateway/control`` does in tasks.

Polls fall due, effects become calls, their outcomes come back as events: nothing is decided here. A process that is
killed forgets everything; one that hangs takes in afterwards what came meanwhile.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cortex.contract.event import NodeChange
from cortex.contract.instance import EndpointAnswer, UnloadAnswer
from cortex.contract.lease import DOUBLE_GATEWAY, LeaseAnswer
from cortex.contract.node import Discovery, Health, RestartAnswer
from cortex.fleet import event as happened
from cortex.fleet.desk import name_apart
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.effect import (
    AskDiscovery,
    Effect,
    FetchEndpoint,
    Grant,
    PostLeases,
    Refuse,
    RestartHarness,
    StartLoad,
    Target,
    UnloadModel,
)
from cortex.fleet.outlook import Outlook
from cortex.fleet.poison import PoisonList
from cortex.fleet.retry_budget import FLOOR, RetryBudget
from cortex.gateway.ports import LoadAllowance, Suspicion, Waiter
from cortex.testing.fleet_host import HostClock
from cortex.testing.fleet_life import Replied
from cortex.testing.fleet_load import LoadRunner
from cortex.testing.fleet_neuron import Listener, NeuronProcess, Refused
from cortex.testing.fleet_store import CLAIM_TTL_S, ToyStore
from cortex.testing.fleet_wire import Missed, NodePlace, Wire
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_referee import FleetReferee

ASK_S = 2.0
SLOW_S = 20.0
TICK_S = 0.25
QUIET_TICK_S = 1.0
STEWARD = "steward"


class SimulatedPlane(NamedTuple):
    """What the requests of one gateway process share, as ``gateway/data/plane.py`` has it."""

    leases: "SimulatedGateway"
    retries: RetryBudget
    poison: PoisonList
    now_s: Callable[[], float]


class GatewayTiming(NamedTuple):
    """Intervals in seconds."""

    poll_s: float = 3.0
    discovery_s: float = 30.0


class SimulatedGateway:
    """One gateway under its name; ``process`` grows when it is started anew."""

    def __init__(
        self,
        name: str,
        time: Timeline,
        dice: Random,
        clock: HostClock,
        wire: Wire,
        nodes: dict[str, NodePlace],
        store: ToyStore | None,
        make_dispatcher: Callable[["SimulatedGateway"], Dispatcher],
        witness: "FleetReferee",
        timing: GatewayTiming,
        retry_floor: int = FLOOR,
        gateway_id: str = "",
    ) -> None:
        self.name = name
        self.gateway_id = gateway_id or name
        """What it reports as, until it is told that another one does."""
        self.clock = clock
        self.process = 0
        self.is_alive = False
        self.paused_until_s = 0.0
        self.nodes = nodes
        self._time = time
        self._dice = dice
        self._wire = wire
        self.store = store
        self._make_dispatcher = make_dispatcher
        self._witness = witness
        self._timing = timing
        self.retry_floor = retry_floor
        self._tickets = 0
        self.steps_aside = 0

    def start(self) -> None:
        """Begin a process, which knows nothing."""
        self.process += 1
        self.is_alive = True
        self.dispatcher = self._make_dispatcher(self)
        self.plane = SimulatedPlane(self, RetryBudget(self.retry_floor), PoisonList(), self.clock.now_s)
        self.waiters: dict[int, Waiter] = {}
        self.is_steward = False
        self._office_s = 0.0
        self._mail: deque[happened.Event] = deque()
        self._is_busy = self._is_ticking = False
        self._streams: dict[str, Listener] = {}
        self._heard: dict[str, tuple[str, int]] = {}
        """The last message of each stream, from which it goes on."""
        self._misses = dict.fromkeys(self.nodes, 0)
        self._names: dict[str, str] = {}
        """What it calls itself at nodes where another one has its name."""
        self._runner = LoadRunner(self, self._wire, self.store, self._witness)
        self._has_leases = happened.PollDue in self.dispatcher._on
        for node in self.nodes.values():
            if self._has_leases:
                self.later(self._dice.uniform(0.01, 0.3), partial(self._poll, node))
                self.later(self._dice.uniform(0.01, 0.3), partial(self._listen, node))
            else:
                self.later(self._dice.uniform(0.01, 0.3), partial(self._poll_plainly, node))
                self._discover(node)
        self.later(QUIET_TICK_S, self._keep_time)
        self.later(self._dice.uniform(0.1, 1.0), self._keep_office)

    def kill(self) -> None:
        """End the process without a word."""
        self.is_alive = False
        for name in tuple(self._streams):
            self._close(name)

    def later(self, delay_s: float, act: Callable[[], None], what: str = "") -> None:
        self._time.later(delay_s, what, self._mine(act))

    def name_at(self, node: str) -> str:
        return self._names.get(node, self.gateway_id)

    def _mine(self, act: Callable[[], None]) -> Callable[[], None]:
        """Return an act of this process: never done when it is over, done later while it hangs."""
        process = self.process

        def due() -> None:
            if not self.is_alive or self.process != process:
                return
            left_s = self.paused_until_s - self._time.at_s
            if left_s > 0:
                self._time.later(left_s, "", due)
            else:
                act()

        return due

    # Requests

    def acquire(
        self,
        name: str,
        waiter: Waiter,
        *,
        avoid: tuple[Target, ...] = (),
        caller: str = "",
        tokens: int = 0,
        head: bytes = b"",
        patience_s: float | None = None,
        priority: int = 0,
        no_load_s: float | None = None,
        allowance: LoadAllowance | None = None,
    ) -> int:
        """See ``gateway.ports.Leases``, as the next ones."""
        self._tickets += 1
        ticket = self._tickets
        self.waiters[ticket] = waiter
        self.post(happened.RequestArrived(ticket, name, avoid, caller, tokens, head, patience_s, priority, no_load_s))
        return ticket

    def release(self, ticket: int, *, is_cancelled: bool = False) -> None:
        self.waiters.pop(ticket, None)
        self.post(happened.RequestFinished(ticket, is_cancelled))

    def suspect(self, target: Target, why: Suspicion) -> None:
        self.post(happened.TargetSuspected(target, why))

    def vouch(self, ticket: int) -> None:
        self.post(happened.RequestAnswered(ticket))

    def knows(self, name: str) -> bool:
        return name in self.dispatcher._floor.by_name

    def names_of(self, name: str) -> tuple[str, ...]:
        return self.dispatcher.names_of(name)

    def outlook(self, ticket: int) -> Outlook | None:
        return self.dispatcher.outlook(ticket, self.clock.now_s())

    def post(self, event: happened.Event) -> None:
        """Take an event in; what follows from it meanwhile waits for its turn."""
        self._mail.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        while self._mail:
            one = self._mail.popleft()
            for effect in self.dispatcher.handle(one, self.clock.now_s()):
                self._witness.wants(self, effect)
                self._carry_out(effect)
        self._is_busy = False
        if not self._is_ticking and self.dispatcher.waiting():
            self._is_ticking = True
            self.later(TICK_S, self._tick)

    def _keep_time(self) -> None:
        """Let time move on for the steward, though nobody waits."""
        if not self._is_ticking:
            self.post(happened.Ticked())
        self.later(QUIET_TICK_S, self._keep_time)

    def _tick(self) -> None:
        self._is_ticking = False
        if self.dispatcher.waiting():
            self.post(happened.Ticked())

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Grant):
            waiter = self.waiters.pop(effect.ticket, None)
            if waiter is not None:
                waiter.granted(effect)
        elif isinstance(effect, Refuse):
            waiter = self.waiters.pop(effect.ticket, None)
            if waiter is not None:
                waiter.refused(effect.error, effect.model, effect.node)
        elif isinstance(effect, StartLoad):
            self._runner.carry_out(effect)
        elif isinstance(effect, FetchEndpoint):
            self._fetch(effect)
        elif isinstance(effect, PostLeases):
            self._post_leases(effect)
        elif isinstance(effect, AskDiscovery):
            self._ask_discovery(self.nodes[effect.node])
        elif isinstance(effect, UnloadModel):
            self._unload(effect)
        elif isinstance(effect, RestartHarness):
            self._restart(effect)

    # Nodes

    def call(
        self,
        node: NodePlace,
        what: str,
        ask: Callable[[NeuronProcess, Replied], None],
        done: Callable[[object], None],
        deadline_s: float,
    ) -> None:
        answers: list[object] = []
        heard = self._mine(lambda: done(answers[0]))

        def settle(answer: object) -> None:
            answers.append(answer)
            heard()

        self._wire.call(self.name, node, f"{self.name}: {what}@{node.name}", ask, settle, deadline_s)

    def _poll(self, node: NodePlace) -> None:
        self.post(happened.PollDue(node.name))
        pause_s = self._timing.poll_s
        if hasattr(self.dispatcher, "pause_s"):
            pause_s = self.dispatcher.pause_s(node.name, self._timing.poll_s)
        self.later(pause_s * self._dice.uniform(0.9, 1.1), lambda: self._poll(node))

    def _post_leases(self, effect: PostLeases) -> None:
        node, post, sent_s = self.nodes[effect.node], effect.post, self.clock.now_s()
        self._witness.posts(self, node, post)

        def done(answer: object) -> None:
            if isinstance(answer, LeaseAnswer):
                self.post(happened.LeasesAnswered(node=node.name, post=post, answer=answer, sent_s=sent_s))
                self._witness.news(self, node.name)
            elif isinstance(answer, Refused):
                if answer.code == DOUBLE_GATEWAY:
                    self._names[node.name] = name_apart(post.gateway_id, post.process)
                    self.steps_aside += 1
                self.post(
                    happened.LeasesRefused(
                        node=node.name, code=answer.code, message=answer.message, known_seq=answer.known_seq
                    )
                )
            else:
                self.post(_missed(node, answer))

        self.call(node, f"leases {post.seq}", lambda p, r: self._witness.post_arrives(self, p, post, r), done, ASK_S)

    def _discover(self, node: NodePlace) -> None:
        self._ask_discovery(node)
        self.later(self._timing.discovery_s * self._dice.uniform(0.9, 1.1), lambda: self._discover(node))

    def _ask_discovery(self, node: NodePlace) -> None:
        def done(answer: object) -> None:
            if isinstance(answer, Discovery):
                self.post(happened.NodeDiscovered(node.name, answer))
            elif self._has_leases:
                self.post(msgspec.structs.replace(_missed(node, answer), is_discovery=True))
            else:
                self.later(1.0, lambda: self._ask_discovery(node))

        self.call(node, "discovery", lambda process, replied: process.discovery(replied), done, ASK_S)

    def _poll_plainly(self, node: NodePlace) -> None:
        """Ask a neuron as an older one is asked, that takes no leases."""
        asked_s = self.clock.now_s()
        told: list[Health] = []

        def healthy(answer: object) -> None:
            if isinstance(answer, Health):
                told.append(answer)
                self.call(node, "models", lambda process, replied: process.models(replied), listed, ASK_S)
            else:
                missed(answer)

        def listed(answer: object) -> None:
            if isinstance(answer, tuple) and not isinstance(answer, Refused):
                models, start_id, event = answer
                self._misses[node.name] = 0
                self.post(
                    happened.NodeSampled(
                        node=node.name, health=told[0], models=models, asked_s=asked_s, start_id=start_id, event=event
                    )
                )
            else:
                missed(answer)

        def missed(answer: object) -> None:
            miss = _missed(node, answer)
            self._misses[node.name] += 1
            if miss.is_certain or self._misses[node.name] >= 3:
                self.post(happened.NodeLost(node.name, miss.why))

        self.call(node, "health", lambda process, replied: process.health(replied), healthy, ASK_S)
        self.later(self._timing.poll_s * self._dice.uniform(0.9, 1.1), lambda: self._poll_plainly(node))

    # The event stream

    def _listen(self, node: NodePlace) -> None:
        """Keep a stream open; one that breaks is opened again from what was seen last."""
        process = node.process
        is_there = process is not None and process.is_ready and self.name not in node.cut_from
        listener = self._streams.get(node.name)
        if is_there and process is not None and (listener is None or listener not in process.listeners):
            self._open(node)
        if self._wire.happens(0.05):
            self._close(node.name)
        self.later(self._dice.uniform(0.5, 1.5), lambda: self._listen(node))

    def _open(self, node: NodePlace) -> None:
        process = node.process
        assert process is not None
        last_s = [0.0]

        def hear(change: NodeChange, is_snapshot: bool) -> None:
            # In order, as TCP has it, however late.
            last_s[0] = max(last_s[0], self._time.at_s + self._wire.delay_s())
            if self.name not in node.cut_from and self._streams.get(node.name) is listener:
                self.later(
                    last_s[0] - self._time.at_s,
                    lambda: self._hear(node.name, change, is_snapshot),
                    f"{self.name} hears {change.start_id}:{change.event}",
                )
            else:
                self._close(node.name)

        listener = Listener(hear)
        self._streams[node.name] = listener
        process.listen(listener, self._heard.get(node.name, ("", 0)))

    def _hear(self, node: str, change: NodeChange, is_snapshot: bool) -> None:
        self._heard[node] = (change.start_id, change.event)
        self.post(happened.NodeChanged(node, change, is_snapshot))
        self._witness.news(self, node)

    def _close(self, node: str) -> None:
        listener = self._streams.pop(node, None)
        process = self.nodes[node].process
        if listener is not None and process is not None and listener in process.listeners:
            process.listeners.remove(listener)

    # Questions and orders

    def _fetch(self, effect: FetchEndpoint) -> None:
        node, model, asked_s = self.nodes[effect.node], effect.model, self.clock.now_s()

        def done(answer: object) -> None:
            if isinstance(answer, EndpointAnswer):
                self.post(happened.EndpointFetched(node=node.name, model=model, endpoint=answer, asked_s=asked_s))
            else:
                code = getattr(answer, "code", "upstream_unreachable")
                self.post(happened.EndpointFailed(node.name, model, code, "no endpoint"))

        name = self.name_at(node.name)
        self.call(node, f"endpoint {model}", lambda p, replied: p.endpoint(model, name, replied), done, ASK_S)

    def _unload(self, effect: UnloadModel) -> None:
        node, model = self.nodes[effect.node], effect.request.model_id
        self._witness.unload_asked(self, node.name, model)

        def done(answer: object) -> None:
            code = "" if isinstance(answer, UnloadAnswer) else getattr(answer, "code", "upstream_unreachable")
            self.post(happened.UnloadFinished(node=node.name, model=model, code=code, message=code))

        self.call(node, f"unload {model}", lambda p, replied: p.unload(effect.request, replied), done, SLOW_S)

    def _restart(self, effect: RestartHarness) -> None:
        node = self.nodes[effect.node]

        self._witness.move_begins(self, node.name)

        def done(answer: object) -> None:
            code = "" if isinstance(answer, RestartAnswer) else getattr(answer, "code", "upstream_unreachable")
            self._witness.move_ends(self, node.name)
            self.post(happened.RestartFinished(node=node.name, harness=effect.harness, code=code, message=code))

        self.call(node, "restart", lambda p, r: p.restart(effect.harness, effect.request, r), done, SLOW_S)

    # Office

    def _keep_office(self) -> None:
        """Be the steward as long as the store says so; without a store there is no other gateway."""
        number, now_s = None, self.clock.now_s()
        if self.store is None:
            is_steward = True
        elif not self.store.is_down:
            claim = self.store.claim(STEWARD, self.name, "")
            is_steward, number = claim.holder == self.name, claim.number
            self._office_s = now_s if is_steward else self._office_s
        else:
            is_steward = self.is_steward and now_s - self._office_s < CLAIM_TTL_S * 2 / 3
        if is_steward != self.is_steward:
            self.is_steward = is_steward
            self.post(happened.StewardChanged(is_steward, number if is_steward else None))
        self.later(CLAIM_TTL_S / 4, self._keep_office)


def _missed(node: NodePlace, answer: object) -> happened.NodeMissed:
    if isinstance(answer, Missed):
        return happened.NodeMissed(node.name, answer.why, answer.is_certain)
    return happened.NodeMissed(node.name, getattr(answer, "message", "no answer"))
