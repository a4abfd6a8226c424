"""A gateway as the simulation of leases knows it: what it has seen, what it holds, and when it may send.

It keeps to the protocol: an older version is dropped whole, nothing is sent without a slot, to what drains, or on a
lease that may have ended, and a request that was cancelled keeps its slot until its engine must be done with it.
"""

from collections.abc import Iterable

from cortex.contract.event import NodeChange
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import Lease, LeaseAnswer, LeasePost
from cortex.testing.leased_node import SETTLE_S, TTL_S, SentRequest


class Hold:
    """What a gateway has of one generation."""

    def __init__(self, generation: int, slots: int, until_s: float) -> None:
        self.generation = generation
        self.slots = slots
        self.until_s = until_s
        """The lease is trusted so long: counted from when the post was sent that was answered."""
        self.active: set[SentRequest] = set()
        self.cancelled = 0
        self._settling: list[float] = []

    def occupied(self, now_s: float) -> int:
        """Return the slots in use, those of requests included that were cancelled lately."""
        self._settling = [until_s for until_s in self._settling if until_s > now_s]
        return len(self.active) + len(self._settling)

    def cancel(self, request: SentRequest, now_s: float) -> None:
        self.active.discard(request)
        self.cancelled += 1
        self._settling.append(now_s + SETTLE_S)


class LeasingGateway:
    """One gateway; ``process`` grows when it is started anew under its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = 0
        self.is_alive = False
        self.start()

    def start(self) -> None:
        """Begin a process, which knows nothing."""
        self.process += 1
        self.is_alive = True
        self.is_leaving = False
        self.is_posting = False
        self.has_news = False
        self.is_asking = False
        self.is_known = False
        """A post of this process has been answered."""
        self.waits_until_s = 0.0
        """It is suspended until then."""
        self.seq = 0
        self.start_id = ""
        self.event = 0
        self.past: set[str] = set()
        self.models: dict[str, InstanceReport] = {}
        self.holds: dict[str, Hold] = {}
        self.waiting: dict[str, list[float]] = {}
        self.is_listening = False

    def post(self, now_s: float) -> LeasePost:
        """Return the next report."""
        self.seq += 1
        return LeasePost(
            gateway_id=self.name,
            seq=self.seq,
            start_id=self.start_id if self.is_known else "",
            seen_event=self.event,
            leases=tuple(self._lease(model, hold, now_s) for model, hold in self.holds.items()),
            leaving=self.is_leaving,
        )

    def may_send(self, model: str, now_s: float) -> Hold | None:
        """Return what a request may be sent on; None when it has to wait."""
        report, hold = self.models.get(model), self.holds.get(model)
        if report is None or hold is None or report.status != "loaded" or report.generation != hold.generation:
            return None
        return hold if now_s < hold.until_s and hold.occupied(now_s) < hold.slots else None

    def needs_endpoint(self, model: str) -> bool:
        """Tell whether it has to ask where a model is reached."""
        report, hold = self.models.get(model), self.holds.get(model)
        is_loaded = report is not None and report.status == "loaded"
        return is_loaded and (hold is None or report is None or hold.generation != report.generation)

    def take_endpoint(self, model: str, generation: int, slots: int, version: tuple[str, int], asked_s: float) -> bool:
        """Take in where a model is reached; an answer older than what is known is dropped."""
        if not self._is_news(*version, is_change=False) or version[0] != self.start_id:
            return False
        known = self.holds.get(model)
        if known is None or known.generation != generation:
            self.holds[model] = Hold(generation, slots, asked_s + TTL_S)
        else:
            known.slots, known.until_s = slots, max(known.until_s, asked_s + TTL_S)
        return True

    def take_answer(self, answer: LeaseAnswer, post: LeasePost, sent_s: float) -> bool:
        """Take in what a post was answered with; tell whether it was news."""
        self.is_known = True
        if answer.start_id not in self.past:
            for lease in post.leases:
                hold = self.holds.get(lease.model_id)
                if hold is not None and hold.generation == lease.generation:
                    hold.until_s = max(hold.until_s, sent_s + TTL_S)
        if not self._is_news(answer.start_id, answer.event, is_change=False):
            return False
        if answer.start_id != self.start_id and not answer.snapshot:
            return False
        self._enter(answer.start_id, answer.event, answer.models, answer.gone, is_whole=answer.snapshot)
        told = {(grant.model_id, grant.generation): grant.slots for grant in answer.slots}
        for model, hold in self.holds.items():
            hold.slots = told.get((model, hold.generation), 0 if answer.snapshot else hold.slots)
        return True

    def take_change(self, change: NodeChange, *, is_whole: bool) -> bool:
        """Take in a message of the stream; tell whether it was news. After a gap only a post helps."""
        if not self._is_news(change.start_id, change.event, is_change=True):
            return False
        if not is_whole and (change.start_id != self.start_id or change.event != self.event + 1):
            return True
        self._enter(change.start_id, change.event, change.models, change.gone, is_whole=is_whole)
        for one in change.slots:
            hold = self.holds.get(one.model_id)
            if one.gateway_id == self.name and hold is not None and hold.generation == one.generation:
                hold.slots = one.slots
        return True

    def _is_news(self, start_id: str, event: int, *, is_change: bool) -> bool:
        if start_id in self.past:
            return False
        return start_id != self.start_id or event > self.event or (event == self.event and not is_change)

    def _enter(
        self, start_id: str, event: int, models: Iterable[InstanceReport], gone: Iterable[str], *, is_whole: bool
    ) -> None:
        if start_id != self.start_id:
            self.past.add(self.start_id)
        self.start_id, self.event = start_id, event
        if is_whole:
            self.models = {}
        for model in gone:
            self.models.pop(model, None)
        self.models |= {report.id: report for report in models}

    def _lease(self, model: str, hold: Hold, now_s: float) -> Lease:
        waiting = self.waiting.get(model, [])
        return Lease(
            model_id=model,
            generation=hold.generation,
            in_flight=len(hold.active),
            waiting=len(waiting),
            oldest_wait_s=now_s - waiting[0] if waiting else 0.0,
            cancelled=hold.cancelled,
            slots=hold.slots if now_s < hold.until_s else 0,
        )
