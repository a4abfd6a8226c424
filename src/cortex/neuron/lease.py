"""The leases of this neuron: keeps the book (``residency/lease_book.py``) in step with the instances, answers posts.

What the book changes is told as one numbered change. Drains ask here who holds an instance (``holder.py``). Whenever
somebody waits for a slot that may be free by now, the engines are asked for their own counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.lease import (
    HealthSample,
    InstanceUse,
    LeaseAnswer,
    LeasePost,
    SampledDevice,
    SlotChange,
    SlotGrant,
)
from cortex.contract.node import DeviceReading
from cortex.kit.clock import Clock
from cortex.neuron.event import EventCounter
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.held_file import HeldFile
from cortex.neuron.instance import Instance
from cortex.neuron.refusal import DoubleGateway, Stale, TooManyGateways
from cortex.neuron.state_dir import StateDir
from cortex.residency.lease_book import Double, Late, LeaseBook, TooMany
from cortex.residency.leased_generation import Serving, Usage

log = logging.getLogger(__name__)

ASK_INTERVAL_S = 0.25
"""Between two rounds of questions to the engines."""
TTL_FILE = "lease_ttl_s"


class EngineCount(NamedTuple):
    """What an engine said when it was asked at ``asked_s``."""

    model_id: str
    generation: int
    in_flight: int
    asked_s: float


class Leases:
    """The one writer of the book; ``serving`` and ``counts`` tell how the instances are now."""

    def __init__(
        self,
        book: LeaseBook,
        events: EventCounter,
        clock: Clock,
        serving: Callable[[], Iterable[Serving]],
        counts: Callable[[], Iterable[EngineCount]] = tuple,
        held: HeldFile | None = None,
    ) -> None:
        self.book = book
        self._events = events
        self._clock = clock
        self._serving = serving
        self._counts = counts
        self._held = held
        self._counted_s: dict[str, float] = {}
        self._is_wanted = asyncio.Event()
        events.watch(self._follow)
        self._follow()

    def in_flight(self, model_id: str, generation: int, now_s: float) -> int:
        """Return the requests of a generation that gateways have under way; slots that are idle are none."""
        self._count()
        return self.book.in_flight(model_id, generation, now_s)

    def has_all_acknowledged(self, model_id: str, generation: int, now_s: float) -> bool:
        """Tell whether every holder of a generation has seen that it drains, or its lease has ended."""
        return self.book.has_all_acknowledged(model_id, generation, now_s)

    def usage(self, model_id: str) -> Usage:
        """Return what gateways do with a model, by their last reports."""
        return self.book.usage(model_id)

    def hold(self, gateway_id: str, model_id: str) -> int | None:
        """Make a gateway a holder of a loaded model and return its slots; None where there are none.

        Raises: TooManyGateways.
        """
        self._count()
        outcome = self.book.hold(gateway_id, model_id, self._clock.now_s(), self._events.event + 1)
        self._tell(outcome)
        return next((grant.slots for grant in self.book.slots_of(gateway_id) if grant.model_id == model_id), None)

    def post(self, post: LeasePost) -> None:
        """Take in a gateway's report. Raises: Stale, DoubleGateway, TooManyGateways."""
        self._count()
        seen = max(0, self.seen_by(post))
        outcome = self.book.post(post, seen, self._clock.now_s(), self._events.event + 1)
        if isinstance(outcome, Late):
            raise Stale(f"seq {post.seq} comes after seq {outcome.seq}: count on from there", seq=outcome.seq)
        if isinstance(outcome, Double):
            log.warning("two gateways go by the gateway_id '%s': one has to go by another", post.gateway_id)
            raise DoubleGateway(
                f"another process reports as '{post.gateway_id}' since: no two gateways may share a name"
            )
        self._tell(outcome)
        if self.book.is_contended():
            self._is_wanted.set()

    def seen_by(self, post: LeasePost) -> int:
        """Return the newest change that a gateway has seen; -1 when it was none of this neuron process."""
        is_ours = post.start_id == self._events.start_id and post.seen_event <= self._events.event
        return post.seen_event if is_ours else -1

    def tick(self) -> None:
        """Let time pass."""
        self._count()
        self._tell(self.book.tick(self._clock.now_s(), self._events.event + 1))

    def sampled(self) -> None:
        """Let time pass, and have the engines asked where somebody waits for that."""
        self.tick()
        if self.book.is_contended():
            self._is_wanted.set()

    async def run(
        self, ask_engines: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Have the engines asked for their counts whenever that may free a slot, for ever."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                await ask_engines()
            except Exception:  # the next round may do better, and slots come free by time as well
                log.exception("the engines could not be asked what they are doing")
            self.tick()
            await sleep(ASK_INTERVAL_S)

    def slots(self) -> Sequence[SlotChange]:
        """Return the slots of every gateway."""
        return self.book.slots()

    def slots_of(self, gateway_id: str, since_event: int) -> tuple[SlotGrant, ...]:
        """Return what a gateway was told after a change."""
        return self.book.slots_of(gateway_id, since_event)

    def count_age_s(self, model_id: str) -> float | None:
        """Return how long ago an engine said how many requests are in it; None for one that does not count."""
        counted_s = self._counted_s.get(model_id)
        return None if counted_s is None else max(0.0, self._clock.now_s() - counted_s)

    def _follow(self) -> None:
        """Take in a change of the instances; what it does to slots is told under the same number."""
        self.book.serve(self._serving(), self._clock.now_s(), self._events.event)

    def _count(self) -> None:
        """Enter each answer of an engine once, before anything newer is."""
        for model_id, generation, in_flight, asked_s in self._counts():
            if self._counted_s.get(model_id, -1.0) < asked_s:
                self._counted_s[model_id] = asked_s
                self.book.count(model_id, generation, in_flight, asked_s)

    def _tell(self, outcome: bool | TooMany) -> None:
        if isinstance(outcome, TooMany):
            raise TooManyGateways(f"{outcome.gateways} gateways are known already: no other one is taken in for now")
        if self._held is not None:
            is_past = self.book.are_earlier_over(self._clock.now_s())
            self._held.note(self.book.held(), self.book.serving(), is_past=is_past)
        if outcome:
            self._events.bump()


class LeaseDesk:
    """Answers ``POST /leases``."""

    def __init__(
        self,
        leases: Leases,
        events: EventCounter,
        feed: EventFeed,
        reports: Callable[[], Sequence[InstanceReport]],
        sample: Callable[[], HealthSample],
        is_in_maintenance: Callable[[], bool] = bool,
    ) -> None:
        self._leases = leases
        self._events = events
        self._feed = feed
        self._reports = reports
        self._sample = sample
        self._is_in_maintenance = is_in_maintenance

    def answer(self, post: LeasePost) -> LeaseAnswer:
        """Take in a report and return what its gateway has not seen yet. Raises: as ``Leases.post``."""
        seen = self._leases.seen_by(post)
        self._leases.post(post)
        change = self._feed.since(seen)
        whole = self._feed.whole() if change is None else change
        book = self._leases.book
        return LeaseAnswer(
            start_id=whole.start_id,
            event=whole.event,
            ttl_s=book.ttl_s,
            cancel_settle_s=book.cancel_settle_s,
            health=self._sample(),
            snapshot=change is None,
            models=whole.models,
            gone=whole.gone,
            harnesses=whole.harnesses,
            slots=self._leases.slots_of(post.gateway_id, -1 if change is None else seen),
            in_use=tuple(self._use(report) for report in self._reports() if _is_in_use(report, book.ttl_s)),
            maintenance=self._is_in_maintenance(),
        )

    def _use(self, report: InstanceReport) -> InstanceUse:
        age_s = self._leases.count_age_s(report.id)
        return InstanceUse(
            model_id=report.id,
            in_flight=report.in_flight,
            idle_s=None if report.idle_s is None else round(report.idle_s, 1),
            waiting=report.waiting,
            age_s=None if age_s is None else round(age_s, 3),
        )


def _is_in_use(report: InstanceReport, span_s: float) -> bool:
    return report.in_flight > 0 or report.waiting > 0 or (report.idle_s is not None and report.idle_s <= span_s)


def serving_now(instances: Mapping[str, Instance], held_before: Callable[[int], frozenset[str]]) -> list[Serving]:
    """Return the instances that serve or drain; ``held_before`` tells who may hold a generation and be unheard."""
    return [
        Serving(
            model_id=model_id,
            generation=instance.launch.generation,
            parallel=instance.launch.prepared.parallel,
            is_draining=instance.status == "draining",
            held_before=held_before(instance.launch.generation),
        )
        for model_id, instance in instances.items()
        if instance.launch is not None and instance.status in ("loaded", "draining")
    ]


def engine_counts(instances: Mapping[str, Instance]) -> list[EngineCount]:
    """Return what the engines said when they were last asked."""
    return [
        EngineCount(model_id, instance.launch.generation, instance.in_flight, instance.counted_s)
        for model_id, instance in instances.items()
        if instance.launch is not None and instance.counted_s is not None
    ]


def longest_ttl_s(state: StateDir, ttl_s: float) -> float:
    """Return how long a lease of this or the last neuron process lives, and write down what holds from now on."""
    try:
        last_s = float(state.read_file(TTL_FILE) or b"0")
    except ValueError:
        last_s = 0.0
    with suppress(OSError):  # then the next process goes by its own setting alone
        state.write_file(TTL_FILE, str(ttl_s).encode())
    return max(last_s, ttl_s) if last_s < float("inf") else ttl_s


def sampled(devices: Iterable[DeviceReading]) -> tuple[SampledDevice, ...]:
    """Return readings as a sample has them."""
    return tuple(msgspec.convert(device, SampledDevice, from_attributes=True) for device in devices)
