"""This gateway's part in the protocol with one neuron: what it has seen, what it holds, and when it must report.

Older versions are dropped whole; a gap is mended by a report, whose answer has all that was missed. One report is under
way at a time. A fenced generation is trusted for as long as its lease lives, and beyond that while the neuron cannot be
reached, because its fence answers for it; an unfenced one never longer than two thirds of it. Decides no placement, and
counts no requests: what is in use it is told with every report.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from math import inf

import msgspec

from cortex import __version__
from cortex.contract.event import NodeChange
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import DOUBLE_GATEWAY, HealthSample, Lease, LeaseAnswer, LeasePost
from cortex.contract.node import Discovery, HarnessHealth, Health
from cortex.fleet.event import LeasesAnswered, LeasesRefused, NodeChanged, NodeMissed, NodeSampled
from cortex.fleet.hold import Holds, Use, most_used
from cortex.fleet.listing import Listing
from cortex.fleet.liveness import MISSES, Liveness

__all__ = ["Desk", "News", "Use"]

DISCOVERY_S = 60.0
UNFENCED_SHARE = 2 / 3
"""Of a lease's life: so long after the last report a generation is used that could be another model's by then."""
CONTENDED_S = 0.25
"""Between two reports for want of a slot."""
STALE_IN_A_ROW = 3
"""Who is refused as stale so often has a double under its name: from then on only the polls try."""
LIVES_REMEMBERED = 32


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What is otherwise on a node. ``reports``: those that changed, in a new life all; ``is_whole``: all was told."""

    is_new_life: bool = False
    is_whole: bool = False
    has_moved: bool = True
    """False: what is handed on was told before; nothing has changed since."""
    reports: tuple[InstanceReport, ...] = ()
    gone: tuple[str, ...] = ()
    health: Health | None = None
    """None: nothing was said of it."""
    wants_discovery: bool = False
    """What the host is made of may be otherwise too."""


class _Gap(msgspec.Struct, frozen=True):
    """Something up to a version was missed, noticed when report ``seq`` was the last one."""

    start_id: str
    event: int
    seq: int


class Desk:
    """One node's, for one gateway process. Only the dispatcher writes it."""

    def __init__(self, node: str, gateway_id: str, *, misses: int = MISSES, discovery_s: float = DISCOVERY_S) -> None:
        self.node = node
        self.live = Liveness(misses)
        self.listing = Listing()
        self.start_id = ""
        self.event = 0
        self.cancel_settle_s = 0.0
        """For how long a cancelled request may keep its slot."""
        self.process = ""
        """Which process of its gateway this is, drawn by whoever started it."""
        self.trouble = ""
        """What is wrong between this gateway and the node, in a sentence."""
        self._gateway_id = gateway_id
        self._discovery_s = discovery_s
        self._holds = Holds()
        self._past: deque[str] = deque(maxlen=LIVES_REMEMBERED)
        self._life_s = -inf
        """Since when this life of the neuron is known."""
        self._asked_s = -inf
        self._gone: tuple[str, ...] = ()
        self._ttl_s = 0.0
        self._has_leases: bool | None = None
        self._is_known = False
        """A report of this process has been answered."""
        self._seq = 0
        self._is_posting = False
        self._is_urgent = False
        self.is_contended = False
        """Slots are short, and no report has said so yet."""
        self._has_left = False
        self._posted_s = -inf
        self._gap: _Gap | None = None
        self._stale = 0
        self._sample = HealthSample(age_s=0.0)
        self._harnesses: dict[str, HarnessHealth] = {}
        self._is_in_maintenance = False
        self._shared: frozenset[str] | None = None
        self._is_asking = False
        self._discovered_s = -inf

    # Reports of ours

    @property
    def wants_post(self) -> bool:
        """Whether something calls for a report at once, and none is under way."""
        return (self._is_urgent or self._gap is not None) and not (self._is_posting or self._has_left)

    def post(self, uses: Iterable[Use], now_s: float, *, leaving: bool = False) -> LeasePost | None:
        """Return the next report, which is under way from now on; None while one is, and then another follows it."""
        if self._has_left or (self._is_posting and not leaving):
            self._is_urgent = True
            return None
        self._is_posting, self._is_urgent, self._has_left = True, False, leaving
        self.is_contended = False
        self._posted_s = now_s
        self._seq += 1
        return LeasePost(
            gateway_id=self._gateway_id,
            process=self.process,
            gateway_version=__version__,
            seq=self._seq,
            start_id=self.start_id if self._is_known else "",
            seen_event=self.event,
            leases=tuple(self._lease(use, now_s) for use in most_used(use for use in uses if use.generation)),
            leaving=leaving,
        )

    def turned_busy(self) -> None:
        """Note that an instance that was idle has a request."""
        self._urge()

    def drained(self) -> None:
        """Note that a draining instance has none any more."""
        self._urge()

    def contended(self, now_s: float) -> None:
        """Note that slots, or the trust in a lease, are short: somebody waits, or may by what was just given back."""
        self.is_contended = True
        self.ripen(now_s)

    def ripen(self, now_s: float) -> None:
        """Let what came too soon after a report be said once it is time."""
        if self.is_contended and now_s - self._posted_s >= CONTENDED_S:
            self._urge()

    # What it says

    def answered(self, event: LeasesAnswered, now_s: float) -> News | None:
        """Take in the answer to a report; None when it tells of nothing newer."""
        answer = event.answer
        self._is_posting, self._is_known, self._stale = False, True, 0
        self.live.answered()
        if answer.start_id in self._past:
            if event.sent_s < self._life_s:
                self._urge()  # the life that there is now has not heard of this gateway
            return None
        has_learnt, self._has_leases = self._has_leases is False, True
        self._ttl_s, self.cancel_settle_s = answer.ttl_s, answer.cancel_settle_s
        self._holds.renew(event.post.leases, event.sent_s)
        is_other_life = answer.start_id != self.start_id
        if is_other_life and not answer.snapshot:
            return None
        self._close_gap(answer, event.post)
        if not is_other_life and answer.event < self.event:
            return None
        news = self._take_answer(answer, now_s)
        if has_learnt:  # whatever it has, this gateway is no holder of it yet
            reports = tuple(self.listing.reports.values())
            news = msgspec.structs.replace(news, is_new_life=True, reports=reports)
        return news

    def refused(self, event: LeasesRefused, now_s: float) -> bool:
        """Take in that a report was not taken; return whether that makes the node unhealthy."""
        self._is_posting = False
        if event.code == DOUBLE_GATEWAY and not self.trouble:
            self._step_aside(now_s)
            return False
        if event.known_seq is None:
            self._is_urgent = self.is_contended = False
            return self.live.missed(event.message, is_certain=False)
        self.live.stirred()
        self._stale += 1
        if event.known_seq > self._seq:
            self._seq = event.known_seq
            self._is_urgent = self._stale < STALE_IN_A_ROW
        return False

    def missed(self, event: NodeMissed, now_s: float) -> bool:
        """Take in that it could not be asked; return whether that makes the node unhealthy, or so for another reason.

        Nothing is urgent any more: the polls go on, and a node that is gone is not to be asked in a circle.
        """
        if event.is_discovery:
            self._is_asking, self._discovered_s = False, -inf
            return False
        self._is_posting = self._is_urgent = self.is_contended = False
        self._gap = None
        return self.live.missed(event.why, is_certain=event.is_certain)

    def changed(self, event: NodeChanged, now_s: float) -> News | None:
        """Take in a message of the event stream; None when it is no news, or only a sign that something was missed."""
        change, is_whole = event.change, event.is_snapshot
        if change.start_id in self._past:
            return None
        self.live.stirred()
        if not self.live.is_healthy:
            self.contended(now_s)
        is_other_life = change.start_id != self.start_id
        if not is_other_life and change.event <= self.event:
            return None
        if not is_whole and (is_other_life or change.event != self.event + 1):
            self._gap = _Gap(change.start_id, change.event, self._seq)
            return None
        return self._take_change(change, now_s, is_whole=is_whole)

    def sampled(self, event: NodeSampled, now_s: float) -> News | None:
        """Take in all that a neuron without leases told when it was asked for it.

        All is handed on, and what is gone twice: a place that was learnt after the question is not given up for it.
        """
        self._is_posting = self._is_urgent = self.is_contended = False
        self._gap = None
        self.live.answered()
        is_older = event.start_id == self.start_id and event.event < self.event
        if event.asked_s < self._asked_s or event.start_id in self._past or is_older:
            return None
        self._asked_s = event.asked_s
        if self._has_leases is not False:
            self._has_leases = False
            self._holds.clear()
        self._harnesses = {harness.name: harness for harness in event.health.harnesses}
        has_moved = not event.event or (event.start_id, event.event) != (self.start_id, self.event)
        _, gone, is_new_life = self._enter(event.start_id, event.event, event.models, (), now_s, is_whole=True)
        lately, self._gone = self._gone, gone
        return News(
            is_new_life=is_new_life,
            is_whole=True,
            has_moved=has_moved,
            reports=tuple(self.listing.reports.values()),
            gone=(*gone, *(model for model in lately if model not in self.listing.reports)),
            health=event.health,
            wants_discovery=is_new_life,
        )

    def endpoint_taken(self, model_id: str, generation: int, slots: int | None, asked_s: float) -> None:
        """Note that it named a place, asked at ``asked_s``, which makes this gateway a holder.

        What it said of slots counts only where nothing else was told: an answer to this has no version of its own.
        """
        if not generation or self._has_leases is False:
            return
        known = 0 if asked_s < self._life_s or self.trouble else slots
        if self._holds.take(model_id, generation, known, asked_s):
            self._urge()

    def seen(self, report: InstanceReport, now_s: float) -> bool:
        """Take in what was seen of one model, ahead of what is told of it; return whether that is news."""
        return self.listing.see(report, now_s)

    def discovered(self, discovery: Discovery, now_s: float) -> None:
        """Take in what the host is made of: which of its harnesses have one server for all their models."""
        self._is_asking, self._discovered_s = False, now_s
        self._shared = frozenset(detail.name for detail in discovery.harness_details if detail.is_shared)

    @property
    def is_being_discovered(self) -> bool:
        """Whether it was asked what its host is made of, for the first time."""
        return self._is_asking and self._shared is None

    def asks_discovery(self, now_s: float, *, is_wanted: bool = False) -> bool:
        """Return whether to ask now what the host is made of, which is under way from then on."""
        if self._is_asking or not (is_wanted or now_s - self._discovered_s >= self._discovery_s):
            return False
        self._is_asking = True
        return True

    # What may be used

    def held(self) -> Iterator[tuple[str, int]]:
        """Go through the model and the generation of all that this gateway holds."""
        return self._holds.all()

    def slots_of(self, model_id: str, generation: int) -> int | None:
        """Return the slots of this gateway in a generation; None: there are none, only what its engine takes."""
        if not generation or self._has_leases is False:
            return None
        hold = self._holds.find(model_id, generation)
        if hold is None:
            return 0
        report = self.listing.reports.get(model_id)
        if report is None or report.generation != generation:
            return hold.slots
        return (hold.slots or 0) if report.parallel else None

    def trusted_until_s(self, model_id: str, generation: int) -> float:
        """Return until when requests may be sent to a generation without hearing of it again."""
        if not generation or self._has_leases is False:
            return inf
        if not self._is_fenced(model_id):
            return self._lived_s(model_id, generation, UNFENCED_SHARE)
        return self.lease_ends_s(model_id, generation) if self.live.is_healthy else inf

    def lease_ends_s(self, model_id: str, generation: int) -> float:
        """Return when the lease on a generation ends, as far as this gateway can be sure of it."""
        return self._lived_s(model_id, generation, 1.0)

    def _lived_s(self, model_id: str, generation: int, share: float) -> float:
        hold = self._holds.find(model_id, generation)
        return -inf if hold is None or hold.sent_s is None else hold.sent_s + self._ttl_s * share

    def _is_fenced(self, model_id: str) -> bool:
        """Tell whether a place of a generation that is gone would say so; of an unknown harness nobody knows."""
        report = self.listing.reports.get(model_id)
        return self._shared is not None and report is not None and report.harness not in self._shared

    def _step_aside(self, now_s: float) -> None:
        """Go by another name from now on: another gateway has taken over this one's, and all slots with it."""
        ours, self._gateway_id = self._gateway_id, name_apart(self._gateway_id, self.process)
        self.trouble = (
            f"another gateway goes by the gateway_id '{ours}': this one goes by '{self._gateway_id}' there. "
            "Give each gateway one of its own in [gateway]."
        )
        self.live.stirred()
        self._holds.tell((), is_all=True, now_s=now_s)
        self._urge()

    def _lease(self, use: Use, now_s: float) -> Lease:
        hold = self._holds.find(use.model_id, use.generation)
        is_alive = now_s < self.lease_ends_s(use.model_id, use.generation)
        return Lease(
            model_id=use.model_id,
            generation=use.generation,
            in_flight=use.in_flight,
            waiting=use.waiting,
            oldest_wait_s=max(0.0, use.oldest_wait_s),
            idle_s=use.idle_s,
            cancelled=use.cancelled,
            slots=(hold.slots or 0) if hold is not None and is_alive else 0,
        )

    def _urge(self) -> None:
        self._is_urgent = self._has_leases is not False

    def _close_gap(self, answer: LeaseAnswer, post: LeasePost) -> None:
        """An answer to a report that was made after the gap was noticed has all; an earlier one may have."""
        gap = self._gap
        if gap is not None and (post.seq > gap.seq or (answer.start_id, gap.event) == (gap.start_id, answer.event)):
            self._gap = None

    def _take_answer(self, answer: LeaseAnswer, now_s: float) -> News:
        had, devices = dict(self._harnesses), {device.index for device in self._sample.devices}
        self._sample, self._is_in_maintenance = answer.health, answer.maintenance
        self._put_harnesses(answer.harnesses, is_whole=answer.snapshot)
        reports, gone, is_new_life = self._enter(
            answer.start_id, answer.event, answer.models, answer.gone, now_s, is_whole=answer.snapshot
        )
        if self._holds.tell(answer.slots, is_all=answer.snapshot, now_s=now_s):
            self._urge()
        at_work = self.listing.use(answer.in_use, now_s)
        return News(
            is_new_life=is_new_life,
            is_whole=answer.snapshot,
            reports=_merged(reports, at_work),
            gone=gone,
            health=self._health(),
            wants_discovery=is_new_life
            or _are_others(had, self._harnesses)
            or bool(devices and devices != {device.index for device in answer.health.devices}),
        )

    def _take_change(self, change: NodeChange, now_s: float, *, is_whole: bool) -> News:
        had = dict(self._harnesses)
        is_about_node = bool(change.harnesses) or change.maintenance is not None
        is_empty = not (change.models or change.gone or change.slots or is_about_node)
        self._put_harnesses(change.harnesses, is_whole=is_whole)
        if change.maintenance is not None:
            self._is_in_maintenance = change.maintenance
        reports, gone, is_new_life = self._enter(
            change.start_id, change.event, change.models, change.gone, now_s, is_whole=is_whole
        )
        is_less = self._holds.tell((own for own in change.slots if own.gateway_id == self._gateway_id), now_s=now_s)
        if is_new_life or is_less:
            self._urge()
        return News(
            is_new_life=is_new_life,
            is_whole=is_whole,
            reports=reports,
            gone=gone,
            health=self._health() if is_about_node else None,
            wants_discovery=is_new_life or is_empty or _are_others(had, self._harnesses),
        )

    def _enter(
        self,
        start_id: str,
        event: int,
        models: Iterable[InstanceReport],
        gone: Iterable[str],
        now_s: float,
        *,
        is_whole: bool,
    ) -> tuple[tuple[InstanceReport, ...], tuple[str, ...], bool]:
        """Take in a version; return the reports that are news, what is gone, and whether it is a new life."""
        is_new_life = self.start_id not in ("", start_id)
        has_moved = is_new_life or not event or event != self.event
        if start_id != self.start_id:
            self._past.extend([self.start_id] if is_new_life else ())
            self._life_s = now_s
            self._holds.begin_anew()
        self.start_id, self.event = start_id, event
        changed, lost = self.listing.enter(models, gone, now_s, is_whole=is_whole, is_new_life=is_new_life)
        for report in changed:
            self._follow(report, is_new_life=is_new_life)
        for model in lost:
            self._holds.forget(model)
        alone = self.listing.alone() if has_moved else []
        return _merged(changed, alone), tuple(lost), is_new_life

    def _follow(self, report: InstanceReport, *, is_new_life: bool) -> None:
        """Let go of generations that are over, and see to it that a drain is acknowledged."""
        if report.status in ("unloaded", "failed"):
            self._holds.forget(report.id, before=report.generation + 1 if report.generation else None)
        elif is_new_life:
            self._holds.keep(report.id, report.generation)
        elif report.generation:
            self._holds.forget(report.id, before=report.generation)
        if report.status == "draining" and self._holds.find(report.id, report.generation) is not None:
            self._urge()

    def _put_harnesses(self, harnesses: Iterable[HarnessHealth], *, is_whole: bool) -> None:
        told = {harness.name: harness for harness in harnesses}
        self._harnesses = told if is_whole else self._harnesses | told

    def _health(self) -> Health:
        sample = self._sample
        return Health(
            uptime_secs=0.0,
            devices=sample.devices,
            sample_age_s=sample.age_s,
            harnesses=tuple(self._harnesses.values()),
            start_id=self.start_id,
            event=self.event,
            stale=sample.stale,
            maintenance=self._is_in_maintenance,
        )


def name_apart(gateway_id: str, process: str) -> str:
    """Return how a gateway calls itself where another one has its name."""
    return f"{gateway_id[:100]}~{process[:16]}"


def _merged(reports: Iterable[InstanceReport], later: Iterable[InstanceReport]) -> tuple[InstanceReport, ...]:
    return tuple(({report.id: report for report in reports} | {report.id: report for report in later}).values())


def _are_others(before: dict[str, HarnessHealth], now: dict[str, HarnessHealth]) -> bool:
    """Tell whether harnesses have come, gone, or changed their health."""
    return bool(before) and {(name, one.healthy) for name, one in before.items()} != {
        (name, one.healthy) for name, one in now.items()
    }
