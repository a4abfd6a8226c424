"""A neuron as the simulation of leases knows it: the real book, shell, counter and feed over engines that are numbers.

Its engines outlive it: a process that begins anew finds them. It drains as a life does: by its engine's own count, by
what gateways report, and by whether all that hold the instance have acknowledged.
"""

from collections.abc import Callable

from cortex.contract.instance import InstanceReport, InstanceStatus
from cortex.contract.lease import HealthSample
from cortex.kit.clock import Clock
from cortex.neuron.event import EventCounter
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.held_file import HeldFile
from cortex.neuron.lease import EngineCount, LeaseDesk, Leases
from cortex.residency.lease_book import LeaseBook
from cortex.residency.leased_generation import Serving
from cortex.testing.fleet_host import Disk

PARALLEL = 3
TTL_S = 12.0
SETTLE_S = 4.0


class SentRequest:
    """One request, from the moment a gateway sends it until its engine is done with it."""

    def __init__(self, number: int, gateway: str, process: int, model: str, generation: int) -> None:
        self.number = number
        self.gateway = gateway
        self.process = process
        self.model = model
        self.generation = generation
        self.is_over = False
        """Answered, failed, or gone with its engine."""
        self.is_cancelled = False
        self.is_orphan = False
        """Its gateway's lease has ended meanwhile."""
        self.reported_s: float | None = None
        """When the neuron was told that it was cancelled."""


class SimulatedEngine:
    """One life of an engine."""

    def __init__(self, model: str, generation: int) -> None:
        self.model = model
        self.generation = generation
        self.requests: set[SentRequest] = set()
        self.is_running = True
        self.was_forced = False
        """It crashed, or was stopped with requests in it because it had to."""
        self.counted_s = -1.0


class LeasedInstance:
    """One model of the node."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.status: InstanceStatus = "loading"
        self.count: EngineCount | None = None

    def report(self) -> InstanceReport:
        return InstanceReport(
            id=self.engine.model,
            harness="fake",
            status=self.status,
            generation=self.engine.generation,
            parallel=PARALLEL,
            in_flight=self.count.in_flight if self.count else 0,
        )


class Drain:
    """One drain: an eviction gives up at its limit, a maintenance cuts."""

    def __init__(self, instance: LeasedInstance, begun_s: float, limit_s: float, is_forced: bool) -> None:
        self.instance = instance
        self.begun_s = begun_s
        self.until_s = begun_s + limit_s
        self.is_forced = is_forced
        self.quiet = 0


class LeasedNode:
    """One host: its engines, and whichever neuron process runs there."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._disk = Disk()
        self.life = 0
        self.generation = 0
        self.instances: dict[str, LeasedInstance] = {}
        self.drains: dict[str, Drain] = {}
        self.is_up = False
        self.waits_until_s = 0.0
        """It hangs until then; what is sent to it is handled afterwards."""
        self.begin()

    def begin(self) -> None:
        """Start a neuron process, which finds what runs."""
        self.life += 1
        self.is_up = True
        self.drains.clear()
        for model, instance in list(self.instances.items()):
            if instance.engine.is_running and instance.status in ("loaded", "draining"):
                instance.status, instance.count = "loaded", None
            elif not instance.engine.is_running:
                del self.instances[model]
        held = HeldFile(self._disk)
        self.events = EventCounter(f"life-{self.life}")
        book = LeaseBook(ttl_s=TTL_S, cancel_settle_s=SETTLE_S, known_from_s=self._clock.now_s() + TTL_S)
        self.leases = Leases(book, self.events, self._clock, lambda: self._serving(held), self._counts, held)
        self.feed = EventFeed(self.events, self.reports, tuple, self.leases.slots)
        self.desk = LeaseDesk(self.leases, self.events, self.feed, self.reports, lambda: HealthSample(age_s=0.0))
        self.events.watch(self._changed)

    def end(self) -> None:
        """Kill the neuron process; its engines go on, but for one that was being started."""
        self.is_up = False
        for model, instance in list(self.instances.items()):
            if instance.status == "loading":
                del self.instances[model]

    def reports(self) -> list[InstanceReport]:
        return [instance.report() for instance in self.instances.values()]

    def load(self, model: str) -> LeasedInstance:
        self.generation += 1
        instance = self.instances[model] = LeasedInstance(SimulatedEngine(model, self.generation))
        self.events.bump()
        return instance

    def change(self, instance: LeasedInstance, status: InstanceStatus) -> None:
        instance.status = status
        self.events.bump()

    def stop_engine(self, instance: LeasedInstance, status: InstanceStatus, *, is_forced: bool) -> None:
        """End an engine; whatever is in it has failed."""
        engine = instance.engine
        engine.is_running, engine.was_forced = False, is_forced
        for request in engine.requests:
            request.is_over = True
        engine.requests.clear()
        self.drains.pop(engine.model, None)
        self.change(instance, status)

    def ask(self, instance: LeasedInstance) -> int:
        """Ask an engine for its own count."""
        engine, now_s = instance.engine, self._clock.now_s()
        instance.count = EngineCount(engine.model, engine.generation, len(engine.requests), now_s)
        engine.counted_s = now_s
        return len(engine.requests)

    def ask_all(self) -> None:
        """Do what the neuron does after every sample."""
        for instance in self.instances.values():
            if instance.status in ("loaded", "draining"):
                self.ask(instance)
        self.leases.sampled()

    def begin_drain(self, instance: LeasedInstance, limit_s: float, *, is_forced: bool) -> None:
        self.drains[instance.engine.model] = Drain(instance, self._clock.now_s(), limit_s, is_forced)
        self.change(instance, "draining")

    def look_at(self, drain: Drain) -> None:
        """Take the next step of a drain."""
        instance, now_s = drain.instance, self._clock.now_s()
        key = (instance.engine.model, instance.engine.generation, now_s)
        in_engine = self.ask(instance)
        is_quiet = not in_engine and not self.leases.in_flight(*key) and self.leases.has_all_acknowledged(*key)
        drain.quiet = drain.quiet + 1 if is_quiet else 0
        if drain.quiet >= 2:
            self.stop_engine(instance, "unloaded", is_forced=False)
        elif now_s >= drain.until_s and drain.is_forced:
            self.stop_engine(instance, "unloaded", is_forced=True)
        elif now_s >= drain.until_s:
            del self.drains[instance.engine.model]
            self.change(instance, "loaded")

    def _serving(self, held: HeldFile) -> list[Serving]:
        return [
            Serving(
                model_id=model,
                generation=instance.engine.generation,
                parallel=PARALLEL,
                is_draining=instance.status == "draining",
                held_before=held.held_before(instance.engine.generation),
            )
            for model, instance in self.instances.items()
            if instance.status in ("loaded", "draining")
        ]

    def _counts(self) -> list[EngineCount]:
        return [instance.count for instance in self.instances.values() if instance.count is not None]
