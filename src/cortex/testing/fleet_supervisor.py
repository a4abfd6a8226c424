"""Who loads, evicts and unloads on a simulated node: ``neuron/supervisor.py`` and ``turnover.py`` without their tasks.

Every decision is the neuron's own: what a load may be (``load_check``), which devices (``Admission.choose``), whether
it gets memory and who goes for it (``residency/eviction.admit``), who failed too often, whose plan is out of date,
which steward is in office, who should leave unasked (``Relief``). Here is the order in which those are asked.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, cast

from cortex.contract.error import CortexError, ModelNotFound
from cortex.contract.instance import InstanceReport, LoadRequest, UnloadAnswer, UnloadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail, HarnessHealth, RestartAnswer, RestartRequest
from cortex.neuron.admission import Admission, no_room
from cortex.neuron.basis import Basis
from cortex.neuron.cycle import CycleBook
from cortex.neuron.event import EventCounter
from cortex.neuron.failure import Failures
from cortex.neuron.harness.interface import Capabilities, Harness, Launch
from cortex.neuron.instance import Instance
from cortex.neuron.lease import Leases
from cortex.neuron.load_check import check_request
from cortex.neuron.maintenance import MaintenanceSwitch
from cortex.neuron.refusal import Stale
from cortex.neuron.relief import Relief
from cortex.neuron.sampler import Sampler, Snapshot
from cortex.neuron.steward import StewardFence
from cortex.neuron.turnover import Limits
from cortex.residency.drain import Drain
from cortex.residency.fit import Infeasible
from cortex.residency.ticket import TicketBook
from cortex.testing.fleet_host import Nature, SimulatedEngine, SimulatedHost
from cortex.testing.fleet_life import Replied, SimulatedDeparture, SimulatedLife
from cortex.testing.fleet_turnover import SimulatedTurnover
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_referee import FleetReferee


KEPT_S = 14.0
"""Memory that comes back so late counts as leaked: nobody waits for it so long."""


class ToyHarness:
    """What the supervisor's decisions ask of a harness."""

    def __init__(self, name: str) -> None:
        self.name = self.kind = name

    capabilities = Capabilities(process_model="per_model", is_fenced=True, reports_in_flight=True)
    device_kinds = frozenset[DeviceKind](("cuda",))


class HostSampler:
    """The newest sample of a host, taken in no time: probes that hang are a matter of the sampler's own tests."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self.latest = Snapshot(taken_s=host.clock.now_s(), readings=host.readings())

    def age_s(self) -> float:
        return self._host.clock.now_s() - self.latest.taken_s

    @property
    def is_stale(self) -> bool:
        return self.age_s() > 15.0

    def refresh(self) -> Snapshot:
        now_s = self._host.clock.now_s()
        readings = self._host.readings()
        taken = dict.fromkeys(range(len(readings)), now_s)
        self.latest = Snapshot(taken_s=now_s, readings=readings, taken_by_device_s=taken)
        return self.latest


class SimulatedSupervisor:
    """The instances of one neuron process."""

    def __init__(
        self,
        host: SimulatedHost,
        time: Timeline,
        dice: Random,
        limits: Limits,
        events: EventCounter,
        instances: dict[str, Instance],
        admission: Admission,
        sampler: HostSampler,
        leases: Leases,
        devices: tuple[Device, ...],
        natures: dict[str, Nature],
        witness: "FleetReferee",
    ) -> None:
        self.host = host
        self.name = host.name
        self.time = time
        self.dice = dice
        self.limits = limits
        self.events = events
        self.instances = instances
        self.admission = admission
        self.sampler = sampler
        self.leases = leases
        self.witness = witness
        self.failures = Failures()
        self.lives: dict[str, SimulatedLife] = {}
        self.tickets = TicketBook(limits.max_wait_s)
        self.natures = natures
        self.is_alive = True
        self.paused_until_s = 0.0
        self.departures: list[SimulatedDeparture] = []
        self.devices = devices
        self.harnesses = [cast("Harness", ToyHarness(name)) for name in host.harnesses]
        self.details_by_name = {
            name: HarnessDetail(name=name, kind=name, usable=True, device_kinds=("cuda",)) for name in host.harnesses
        }
        self.basis = Basis()
        self._cycles = CycleBook(host.harnesses, host.disk)
        self._steward = StewardFence(host.disk)
        self._relief = Relief(instances, admission, cast("Sampler", sampler), leases, host.clock)
        self._deciding: dict[str, list[Callable[[], None]]] = {}
        self._restarting: list[Replied] | None = None
        self.maintenance = MaintenanceSwitch(host.disk)
        self._turnover = SimulatedTurnover(self)
        self.adopt = self._turnover.adopt

    @property
    def now_s(self) -> float:
        return self.host.clock.now_s()

    def later(self, delay_s: float, act: Callable[[], None], what: str = "") -> None:
        """Have this process do something after a while; one that hangs does it afterwards."""

        def due() -> None:
            if not self.is_alive:
                return
            left_s = self.paused_until_s - self.time.at_s
            if left_s > 0:
                self.time.later(left_s, what, due)
            else:
                act()

        self.time.later(delay_s, what, due)

    # What node.py asks

    def details(self) -> tuple[HarnessDetail, ...]:
        return tuple(self.details_by_name.values())

    def reports(self) -> list[InstanceReport]:
        return [instance.report(self.now_s) for instance in self.instances.values()]

    def health(self) -> tuple[HarnessHealth, ...]:
        return tuple(self._health_of(name) for name in self.host.harnesses)

    def _health_of(self, name: str) -> HarnessHealth:
        counts = self._cycles.of(name)
        return HarnessHealth(
            name=name,
            kind=name,
            healthy=True,
            cycles=counts.cycles,
            leaking_cycles=counts.leaking_cycles,
            restart_due=counts.leaking_cycles > 0,
        )

    @property
    def is_restarting(self) -> bool:
        return self._restarting is not None

    @property
    def takes_loads(self) -> bool:
        """Tell whether a load that has waited for its victims is still to be made."""
        return not (self.is_restarting or self.maintenance.is_on)

    def is_in_maintenance(self) -> bool:
        return self.maintenance.is_on

    def maintain(self, is_on: bool) -> None:
        """Begin maintenance of this node, or end it, as an operator does."""
        if self.maintenance.put(is_on):
            self.changed()

    # Calls

    def load(self, request: LoadRequest, replied: Replied) -> None:
        """Start a load, or join one; answered once it is decided whether its victims go."""
        try:
            check_request(request)
            self._steward.check(request.steward)
        except CortexError as error:
            replied(error)
            return
        self._in_turn(request.model_id, lambda: self._turnover.load(request, replied))

    def unload(self, request: UnloadRequest, replied: Replied) -> None:
        try:
            self._steward.check(request.steward)
        except CortexError as error:
            replied(error)
            return
        self._in_turn(request.model_id, lambda: self._unload(request, replied))

    def restart(self, harness: str, request: RestartRequest, replied: Replied) -> None:
        """Restart a harness: everything of it drained and unloaded, what has leaked given back."""
        try:
            self._steward.check(request.steward)
            now = self._cycles.of(harness).cycles
            if self._restarting is None and request.cycles is not None and request.cycles != now:
                raise Stale(f"harness '{harness}' has {now} cycles by now, not {request.cycles}", cycles=now)
        except CortexError as error:
            replied(error)
            return
        if self._restarting is not None:
            self._restarting.append(replied)
            return
        self._restarting = [replied]
        self._clear(harness, request.force)

    def pin(self, model: str, pinned: bool | None) -> None:
        """Pin a model that this node has had, as an operator does."""
        instance = self.instances.get(model)
        if instance is not None:
            instance.pin = pinned
            self.host.pins = {key: pin for key, pin in self.host.pins.items() if key != model}
            if pinned is not None:
                self.host.pins[model] = pinned
            self.changed()

    # What lives ask

    def changed(self) -> None:
        self.events.bump()
        self.basis.note(self.instances.values(), self.events.event)

    def over(self, life: SimulatedLife) -> None:
        """Take in that a life has ended: those who wait for its memory may go on."""
        del self.lives[life.key]
        for other in tuple(self.lives.values()):
            if life.key in other.awaits:
                other.victim_gone(life.key)

    def count_cycle(self, harness: str, is_back: bool) -> None:
        self._cycles.count(harness, is_back)
        if not is_back:
            self.witness.keeps_memory(self, harness)

    def missing_for(self, key: str) -> str | None:
        """Return what is missing of what was reserved, now that its victims are gone; None when all is there."""
        self.sampler.refresh()
        verdict = self.admission.book.judge_again(key, self.admission.rooms())
        if isinstance(verdict, Infeasible):
            return no_room(0, verdict.reason, verdict.devices).message
        return None

    def engine_for(self, launch: Launch) -> SimulatedEngine:
        """Return the engine that a launch starts, as its model's nature and chance have it."""
        nature = self.natures.get(launch.request.model_id, Nature())
        devices = tuple(device.index for device in launch.devices)
        count = max(1, len(devices))
        share_mb = -(-launch.prepared.need_mb // count)
        engine = SimulatedEngine(
            self.host.next_pid(),
            launch.request.model_id,
            launch.generation,
            launch.nonce,
            port=self.host.next_port(),
            devices=devices,
            declared_mb=share_mb,
            actual_mb=int((nature.declared_mb / count or share_mb) * nature.actual_share),
            parallel=launch.prepared.parallel,
            started_s=self.time.at_s,
            load_s=nature.load_s * self.dice.uniform(1 - nature.spread, 1 + nature.spread),
            request=launch.request,
        )
        if self.dice.random() < nature.fails:
            self.time.later(
                engine.load_s * 0.9, f"{self.name}: {engine.model} fails to load", lambda: self.crash(engine)
            )
        return engine

    def crash(self, engine: SimulatedEngine) -> None:
        """Have an engine end by itself; a neuron that watches it notices."""
        if engine.is_running:
            watcher = engine.on_exit
            engine.let_go()
            self._end(engine, is_forced=True)
            if watcher is not None:
                watcher()

    def end_engine(self, engine: SimulatedEngine, *, is_forced: bool) -> None:
        """Stop an engine, as this neuron does."""
        self.witness.stopped_by(self, engine)
        self._end(engine, is_forced=is_forced)

    def _end(self, engine: SimulatedEngine, *, is_forced: bool) -> None:
        back_in_s = self.dice.choice((0.01, 0.05, 0.3, 0.3, 2.5))
        leaks_mb = self.dice.choice((0, 0, 0, 0, 0, 0, 0, 16))
        keeps = self.natures.get(engine.model, Nature()).keeps
        if keeps and self.dice.random() < keeps:
            back_in_s = KEPT_S
        inside = list(engine.requests)
        self.witness.stops(self, engine, inside, is_forced=is_forced)
        self.host.end(engine, is_forced=is_forced, back_in_s=back_in_s, leaks_mb=leaks_mb)

    # Samples

    def sample(self) -> None:
        """Take in a new sample, and ask the engines what they are doing."""
        self.sampler.refresh()
        self.admission.observe()
        for instance in self.instances.values():
            if instance.engine is not None:
                measured = self.admission.measured_mb(instance.model_id)
                instance.vram_used_mb = sum(measured.values()) if measured else None
        self.look()

    def look(self) -> None:
        """Ask every engine for its own count."""
        for life in self.lives.values():
            self.look_at(life)
        self.leases.sampled()

    def relieve(self) -> None:
        """Have those leave who should, unasked."""
        for model_id in self._relief.leavers():
            life = self.lives.get(model_id)
            if life is not None and life.departure is None:
                self._suggest(life)

    def _suggest(self, life: SimulatedLife) -> None:
        """Have an instance leave for nobody's sake, if it can without anything being cut."""
        departure = SimulatedDeparture(self, self.drain_of("eviction"), lambda: not life.instance.is_pinned)
        life.propose(departure)
        departure.look()

    def look_at(self, life: SimulatedLife) -> None:
        instance = life.instance
        if instance.status in ("loaded", "draining"):
            was_silent = instance.is_silent
            life.count()
            if instance.is_silent != was_silent:
                self.changed()

    # Loads

    def _in_turn(self, model: str, act: Callable[[], None]) -> None:
        """Do something about a model when nothing else is being decided about it."""
        if model in self._deciding:
            self._deciding[model].append(act)
        else:
            act()

    def begin_deciding(self, model: str) -> None:
        self._deciding[model] = []

    def decided(self, model: str) -> None:
        queued = self._deciding.pop(model, [])
        while queued:
            queued.pop(0)()
            if model in self._deciding:
                self._deciding[model].extend(queued)
                return

    def drain_of(self, kind: str) -> Drain:
        if kind == "due":
            return Drain("due", self.now_s + self.limits.drain_s)
        return Drain("eviction", self.now_s + self.limits.grace_s)

    # Unloads

    def _unload(self, request: UnloadRequest, replied: Replied) -> None:
        key = request.model_id
        if key not in self.instances:
            replied(ModelNotFound(f"no model '{key}' on this node", model_id=key))
            return
        life = self.lives.get(key)
        if life is None:
            self._forget_failure(key)
            replied(UnloadAnswer(status="unloaded"))
            return

        def told(refusal: CortexError | None) -> None:
            if refusal is None:
                self._forget_failure(key)
            if request.wait:
                replied(refusal or UnloadAnswer(status="unloaded"))

        life.leave(self.limits.drain_s, force=request.force, told=told)
        if not request.wait:
            replied(UnloadAnswer(status="draining"))

    def _forget_failure(self, key: str) -> None:
        self.failures.forget(key)
        instance = self.instances.get(key)
        if instance is not None and instance.status == "failed" and key not in self.lives:
            instance.move("unload_requested")
            instance.error = None
            self.changed()

    def _clear(self, harness: str, force: bool) -> None:
        """Unload everything of a harness; then nothing that has leaked is left."""
        lives = [life for life in self.lives.values() if life.harness == harness]
        left, refusals = [len(lives)], list[CortexError]()

        def told(refusal: CortexError | None) -> None:
            left[0] -= 1
            refusals.extend([refusal] if refusal is not None else [])
            if not left[0]:
                self._cleared(harness, refusals)

        for life in lives:
            life.leave(self.limits.drain_s, force=force, told=told)
        if not lives:
            self._cleared(harness, refusals)

    def _cleared(self, harness: str, refusals: Sequence[CortexError]) -> None:
        waiting, self._restarting = self._restarting or [], None
        if not refusals:
            self._cycles.reset(harness)
            self.host.leaked_mb = [0] * len(self.host.leaked_mb)
        self.witness.restarts(self, harness, not refusals)
        self.changed()
        for replied in waiting:
            replied(
                refusals[0] if refusals else RestartAnswer(status="restarted", cycles=self._cycles.of(harness).cycles)
            )
