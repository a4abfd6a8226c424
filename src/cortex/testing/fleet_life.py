"""A life and a drain of a simulated neuron: what ``neuron/life.py`` and ``neuron/departure.py`` do in tasks, in steps.

The states, the drain's verdicts, the memory that must be seen free and how long an instance is protected are decided by
the neuron's own objects; here is only what those files wait for, and in which order.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, cast

from cortex.contract.error import CortexError
from cortex.contract.instance import InstanceError
from cortex.neuron.departure import QUIET_POLL_S
from cortex.neuron.failure import Failures
from cortex.neuron.harness.interface import Activity, Engine, Harness, Launch
from cortex.neuron.instance import Instance
from cortex.neuron.life import MEMORY_WAIT_S
from cortex.neuron.memory_return import MemoryReturn, of_process
from cortex.neuron.refusal import Busy
from cortex.residency.drain import Drain, Look
from cortex.testing.fleet_host import SimulatedEngine, SimulatedHost

if TYPE_CHECKING:
    from cortex.testing.fleet_supervisor import SimulatedSupervisor

Outcome = Callable[[CortexError | None], None]
Replied = Callable[[object], None]
"""Takes an answer of the contract, or the error with which a call is refused."""


class SimulatedDeparture:
    """One drain under way, of one instance or of several that go together."""

    def __init__(
        self,
        supervisor: "SimulatedSupervisor",
        drain: Drain,
        may_go: Callable[[], bool] = lambda: True,
        decided: Callable[[bool], None] = lambda _: None,
        wanted: str = "",
    ) -> None:
        self.drain = drain
        self.wanted = wanted
        """The load for whose sake it is."""
        self._supervisor = supervisor
        self._may_go = may_go
        self._decided = decided
        self._members: dict[str, SimulatedLife] = {}
        self._is_called_off = False
        self._is_over = False

    def add(self, life: "SimulatedLife") -> None:
        self._members[life.key] = life

    def release(self, key: str) -> None:
        """Let an instance go its own way; once it is decided this changes nothing."""
        self._members.pop(key, None)

    def call_off(self) -> None:
        """Have all of them stay, unless it is decided already."""
        if not self._is_over:
            self._is_called_off = True
            self._decide(is_cut=False)

    def look(self) -> None:
        """Take the next step."""
        supervisor = self._supervisor
        if self._is_over or not supervisor.is_alive:
            return
        if not self._members:
            self._end(goes=not self._is_called_off)
            return
        looks = [life.seen() for life in self._members.values()]
        verdict = self.drain.judge(looks, supervisor.now_s)
        if verdict == "given_up" or (verdict != "wait" and not self._may_go()):
            self.call_off()
        elif verdict != "wait":
            self._decide(is_cut=verdict == "cut")
        else:
            supervisor.later(QUIET_POLL_S, self.look)

    def _decide(self, *, is_cut: bool) -> None:
        lives, self._members = list(self._members.values()), {}
        goes = not self._is_called_off
        if goes:
            self._supervisor.witness.departs(self._supervisor, self, lives)
        for life in lives:
            life.go(is_cut=is_cut) if goes else life.stay()
        self._end(goes=goes)

    def _end(self, *, goes: bool) -> None:
        self._is_over = True
        self._decided(goes)


class SimulatedLife:
    """One life of an instance, from its launch until its memory is free again."""

    def __init__(
        self, supervisor: "SimulatedSupervisor", instance: Instance, launch: Launch, *, is_new: bool = True
    ) -> None:
        self.instance = instance
        self.launch = launch
        self.is_new = is_new
        self.engine: SimulatedEngine | None = None
        self.departure: SimulatedDeparture | None = None
        self.clearing: SimulatedDeparture | None = None
        """The drain of those who go for it first."""
        self.is_departure_mine = False
        self.is_ended = False
        self.awaits: set[str] = set()
        """Victims that are not gone yet."""
        self._supervisor = supervisor
        self._outcomes: list[Outcome] = []
        self._ended: list[Callable[[], None]] = []

    @property
    def key(self) -> str:
        return self.instance.model_id

    @property
    def harness(self) -> str:
        return self.instance.harness.name if self.instance.harness is not None else ""

    def begin(self, harness: Harness) -> None:
        self.instance.begin(harness, self.launch)

    def is_on(self, devices: Collection[int]) -> bool:
        return any(device.index in devices for device in self.launch.devices)

    def when_ended(self, then: Callable[[], None]) -> None:
        self._ended.append(then)

    # Coming up

    def start_engine(self) -> None:
        """Start an engine in the memory that is reserved."""
        supervisor = self._supervisor
        if self.instance.status != "loading" or self.engine is not None:
            return
        engine = self.engine = supervisor.engine_for(self.launch)
        supervisor.witness.starts(supervisor, engine)
        supervisor.admission.begin(self.key)
        self.take_on(engine)
        supervisor.host.start(engine)
        supervisor.time.later(
            engine.load_s, f"{supervisor.name}: engine of {self.key} is up", lambda: _come_up(engine, supervisor.host)
        )
        supervisor.changed()

    def take_on(self, engine: SimulatedEngine) -> None:
        """Watch an engine."""
        self.engine = engine
        self.instance.engine = cast("Engine", engine)
        engine.on_ready, engine.on_exit = self.ready, self.lost

    def ready(self) -> None:
        instance, supervisor, engine = self.instance, self._supervisor, self.engine
        if instance.status != "loading" or engine is None:
            return
        now_s = supervisor.now_s
        instance.active_s = instance.loaded_s = now_s
        if self.is_new:
            instance.load_s = supervisor.host.now_s - engine.started_s
        supervisor.admission.settle(self.key)
        instance.move("engine_ready")
        supervisor.changed()
        supervisor.sample()

    def lost(self) -> None:
        """Take in that the engine has ended by itself."""
        instance = self.instance
        if instance.status in ("unloading", "unloaded", "failed"):
            return
        if self.departure is not None:
            self.departure.release(self.key)
        if instance.status != "draining":
            instance.error = InstanceError(code="engine_exited", message="the engine has ended", log_tail=("boom",))
        instance.move("engine_lost")
        self._supervisor.changed()
        self._go_down()

    def fail(self, code: str, message: str) -> None:
        """End a load that never got its room."""
        if self.instance.status == "loading":
            self.instance.error = InstanceError(code=code, message=message)
            self.instance.move("engine_lost")
            self._supervisor.changed()
            self._end()

    def victim_gone(self, key: str) -> None:
        """Take in that one of those is gone who go for it; the last makes room, unless others have taken it."""
        self.awaits.discard(key)
        if self.awaits or self.instance.status != "loading" or self.engine is not None:
            return
        missing = self._supervisor.missing_for(self.key)
        if missing is None:
            self.start_engine()
        else:
            self.fail("no_room", missing)

    # Going

    def leave(self, drain_s: float, *, force: bool, told: Outcome) -> None:
        """Be asked to unload by an operator."""
        self._outcomes.append(told)
        until_s = self._supervisor.now_s + drain_s
        if self.departure is not None and self.is_departure_mine:
            if force:
                self.departure.drain.force(until_s)
            return
        if self.departure is not None:
            self.departure.release(self.key)
        if self.instance.status == "loading":
            self._break_off()
            return
        if self.instance.status in ("unloading", "failed"):
            return  # it is on its way already, and tells when it is gone
        own = SimulatedDeparture(self._supervisor, Drain("maintenance", until_s, is_forced=force))
        self.propose(own, is_mine=True)
        own.look()

    def propose(self, departure: SimulatedDeparture, *, is_mine: bool = False) -> None:
        """Drain: no new requests from now on."""
        self.departure, self.is_departure_mine = departure, is_mine
        departure.add(self)
        self.instance.unload_reason = "request" if is_mine else "eviction"
        if self.instance.status == "loaded":
            self.instance.move("unload_requested")
            self._supervisor.witness.drains(self._supervisor, self)
        self._supervisor.changed()

    def go(self, *, is_cut: bool) -> None:
        self.instance.move("drained")
        self._stop_engine(is_cut=is_cut)
        self._supervisor.changed()
        self._go_down()

    def stay(self) -> None:
        """Go on serving: a drain was given up."""
        self.departure, self.is_departure_mine = None, False
        self.instance.unload_reason = None
        if self.instance.status == "draining":
            self.instance.move("drain_given_up")
            self._supervisor.witness.drain_ended(self._supervisor, self)
        self._supervisor.changed()
        self._settle(Busy(f"{self.key} still has requests running", status="loaded"))

    def seen(self) -> Look:
        """Look at the instance for a drain: the engine's own count and the holders' word, whichever is more."""
        supervisor, counted = self._supervisor, self.count()
        of = (self.key, self.launch.generation, supervisor.now_s)
        held = supervisor.leases.in_flight(*of)
        return Look(
            in_flight=(held or None) if counted is None else max(counted, held),
            is_acknowledged=supervisor.leases.has_all_acknowledged(*of),
        )

    def count(self) -> int | None:
        """Ask the engine for its own count; None from one that hangs."""
        engine, now_s = self.engine, self._supervisor.now_s
        if engine is None or not engine.is_running:
            return 0
        activity = None if engine.is_hung else Activity(in_flight=len(engine.requests), work=engine.work)
        self.instance.note(activity, now_s, now_s)
        return None if activity is None else activity.in_flight

    def _break_off(self) -> None:
        """Stop loading."""
        self.instance.unload_reason = "request"
        self.instance.move("unload_requested")
        if self.clearing is not None:
            self.clearing.call_off()
        self._stop_engine(is_cut=False)
        self._supervisor.changed()
        self._go_down()

    def _stop_engine(self, *, is_cut: bool) -> None:
        engine = self.engine
        if engine is not None and engine.is_running:
            engine.let_go()
            self._supervisor.end_engine(engine, is_forced=is_cut)

    def _go_down(self) -> None:
        engine, supervisor = self.engine, self._supervisor
        if engine is None:
            self._gone(is_back=True)
            return
        expected = of_process(
            engine.pid, supervisor.admission.declared_mb(self.key), supervisor.sampler.latest.readings
        )
        self._await_memory(expected, supervisor.now_s + MEMORY_WAIT_S)

    def _await_memory(self, expected: MemoryReturn, until_s: float) -> None:
        supervisor = self._supervisor
        if not supervisor.is_alive:
            return
        is_back = expected.is_back(supervisor.sampler.refresh().readings)
        if is_back or supervisor.now_s > until_s:
            self._gone(is_back=is_back is not False)
        else:
            supervisor.later(QUIET_POLL_S, lambda: self._await_memory(expected, until_s))

    def _gone(self, *, is_back: bool) -> None:
        supervisor, engine = self._supervisor, self.engine
        supervisor.admission.release(self.key)
        self.instance.engine, self.instance.in_flight = None, 0
        if self.instance.status == "unloading":
            if not is_back:
                self.instance.error = InstanceError(code="memory_kept", message="the devices still show its memory")
            self.instance.move("engine_gone")
            if engine is not None:
                supervisor.count_cycle(self.harness, is_back)
        self._end()

    def _end(self) -> None:
        supervisor = self._supervisor
        supervisor.admission.release(self.key)
        self.is_ended = True
        supervisor.over(self)
        note_failure(supervisor.failures, self.instance, supervisor.now_s)
        supervisor.changed()
        self._settle(None)
        ended, self._ended = self._ended, []
        for then in ended:
            then()

    def _settle(self, refusal: CortexError | None) -> None:
        outcomes, self._outcomes = self._outcomes, []
        for told in outcomes:
            told(refusal)


def _come_up(engine: SimulatedEngine, host: SimulatedHost) -> None:
    """Let an engine serve, whether a neuron watches it or not."""
    if engine.is_running:
        engine.is_serving, engine.ready_s = True, host.now_s
        if engine.on_ready is not None:
            engine.on_ready()


def note_failure(failures: Failures, instance: Instance, now_s: float) -> None:
    """Take in how a life ended, as the supervisor does."""
    failures.note(instance, now_s)
