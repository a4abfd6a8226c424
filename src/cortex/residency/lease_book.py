"""Keeps the books of one node's leases: which gateways hold which generation, and what they report.

A drain is over for a gateway when it has seen it, or when its lease has ended; a lease ends ``ttl_s`` after it was
last received. Times are seconds on one clock, passed in; ``event`` is the number of the change under which whatever a
call changes is told. One writer: the neuron's shell. How slots are divided is ``leased_generation.py``'s.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cortex.contract.lease import Lease, LeasePost, SlotChange, SlotGrant
from cortex.residency.holding import Said
from cortex.residency.leased_generation import NO_USAGE, LeasedGeneration, Serving, Usage

MAX_GATEWAYS = 256
PROCESSES_REMEMBERED = 8
"""Of one gateway, those that others have taken over from."""
REMEMBERED_TTLS = 10
"""How long the number of a gateway's last post is known, in spans of a lease: until nothing older can still come."""


class Late(NamedTuple):
    """The post is not newer than one that was taken in before; ``seq`` is that one's number."""

    seq: int


class Double(NamedTuple):
    """Another process goes by the gateway's name since ``process`` did, and is alive."""

    process: str


class TooMany(NamedTuple):
    """There are so many gateways already that no other one is taken in."""

    gateways: int


class _Gateway:
    """What is known of one gateway besides its leases."""

    def __init__(self, now_s: float) -> None:
        self.seq = -1
        self.seen_event = 0
        self.heard_s = now_s
        self.process = ""
        """Which of its processes was heard last; empty: it does not say, or has left."""
        self.past: list[str] = []


class LeaseBook:
    """The leases of one node. Calls that may change somebody's slots return whether they did."""

    def __init__(
        self, *, ttl_s: float, cancel_settle_s: float, known_from_s: float, max_gateways: int = MAX_GATEWAYS
    ) -> None:
        """``known_from_s``: when every lease has ended that an earlier process gave."""
        self.ttl_s = ttl_s
        self.cancel_settle_s = cancel_settle_s
        self._known_from_s = known_from_s
        self._max_gateways = max_gateways
        self._gateways: dict[str, _Gateway] = {}
        self._generations: dict[str, LeasedGeneration] = {}

    def serve(self, serving: Iterable[Serving], now_s: float, event: int) -> bool:
        """Take in which instances serve and which drain; the leases on what is gone are gone."""
        before = self._generations
        self._generations = {}
        for one in serving:
            known = before.get(one.model_id)
            if known is None or known.serving.generation != one.generation:
                known = LeasedGeneration(one)
            known.serve(one, event)
            self._generations[one.model_id] = known
        return self.tick(now_s, event)

    def hold(self, gateway_id: str, model_id: str, now_s: float, event: int) -> bool | TooMany:
        """Make a gateway a holder of what serves a model: it has asked where that is. Slots go to those who report."""
        gateway = self._known(gateway_id, now_s)
        if isinstance(gateway, TooMany):
            return gateway
        known = self._generations.get(model_id)
        if known is not None:
            holding = known.renew(gateway_id, now_s, event)
            holding.seen_event, holding.is_heard = gateway.seen_event, gateway.seq >= 0
        return self.tick(now_s, event)

    def post(self, post: LeasePost, seen_event: int, now_s: float, event: int) -> bool | Late | Double | TooMany:
        """Take in a gateway's report. ``seen_event`` is 0 for one that has seen nothing of this neuron process.

        A new process under a known name is the gateway that was started anew: it takes over, and slots that the last
        one may go by are called back. If that one reports again all the same, there are two of them.
        """
        gateway = self._known(post.gateway_id, now_s)
        if isinstance(gateway, TooMany):
            return gateway
        if post.process in gateway.past and now_s - gateway.heard_s < self.ttl_s:
            return Double(post.process)
        if post.seq <= gateway.seq:
            return Late(gateway.seq)
        gateway.seq, gateway.seen_event, gateway.heard_s = post.seq, seen_event, now_s
        has_begun = bool(gateway.process) and post.process != gateway.process
        if has_begun:
            past = [one for one in (*gateway.past, gateway.process) if one != post.process]
            gateway.past = past[-PROCESSES_REMEMBERED:]
            self._call_back(post.gateway_id, event)
        gateway.process = "" if post.leaving else post.process
        self._enter(post, seen_event, now_s, event)
        return self.tick(now_s, event) or has_begun

    def count(self, model_id: str, generation: int, in_flight: int, asked_s: float) -> None:
        """Take in an engine's own count, asked for at ``asked_s``; what it frees is shared out with the next call."""
        self._expire(asked_s)
        known = self._find(model_id, generation)
        if known is not None:
            known.count(in_flight, asked_s)

    def tick(self, now_s: float, event: int) -> bool:
        """Let time pass: leases end, and whoever has waited for that gets slots."""
        self._expire(now_s)
        changed = False
        for known in self._generations.values():
            changed |= known.share(now_s, self.cancel_settle_s, event)
        return changed

    def in_flight(self, model_id: str, generation: int, now_s: float) -> int:
        """Return the requests that gateways have under way, those included of which nobody tells any more."""
        self._expire(now_s)
        known = self._find(model_id, generation)
        return 0 if known is None else known.in_flight

    def has_all_acknowledged(self, model_id: str, generation: int, now_s: float) -> bool:
        """Tell whether nobody will send anything more to an instance that drains."""
        self._expire(now_s)
        known = self._find(model_id, generation)
        if known is None:
            return True
        if not known.is_known:
            return False
        event = known.draining_event
        return all(event is not None and holding.seen_event >= event for holding in known.holdings.values())

    def usage(self, model_id: str) -> Usage:
        """Return what gateways do with a model, by their last reports."""
        known = self._generations.get(model_id)
        return NO_USAGE if known is None else known.usage

    def held(self) -> dict[int, frozenset[str]]:
        """Return which gateways the next process has to reckon with, by generation; those with none are left out."""
        held = {known.serving.generation: known.remembered for known in self._generations.values()}
        return {generation: names for generation, names in held.items() if names}

    def serving(self) -> frozenset[int]:
        """Return the generations that serve or drain."""
        return frozenset(known.serving.generation for known in self._generations.values())

    def are_earlier_over(self, now_s: float) -> bool:
        """Tell whether every lease has ended that an earlier process gave."""
        return now_s >= self._known_from_s

    def is_contended(self) -> bool:
        """Tell whether somebody waits for a slot that an engine's own count might show to be free."""
        return any(known.is_contended for known in self._generations.values())

    def slots_of(self, gateway_id: str, since_event: int = -1) -> tuple[SlotGrant, ...]:
        """Return what a gateway was told after a change."""
        return tuple(
            SlotGrant(model_id=change.model_id, generation=change.generation, slots=change.slots)
            for change, event in self._slots()
            if change.gateway_id == gateway_id and event > since_event
        )

    def slots(self) -> tuple[SlotChange, ...]:
        """Return the slots of every gateway."""
        return tuple(change for change, _ in self._slots())

    def debris(self, model_id: str) -> int:
        """Return the slots of a model that nobody may use yet, because its engine may not be done with them."""
        known = self._generations.get(model_id)
        return 0 if known is None else known.debris

    def holders(self, model_id: str) -> tuple[str, ...]:
        """Return the gateways that hold a model."""
        known = self._generations.get(model_id)
        return () if known is None else tuple(sorted(known.holdings))

    def _enter(self, post: LeasePost, seen_event: int, now_s: float, event: int) -> None:
        """Go through all generations: what a post does not mention its gateway does not use."""
        reported = {(lease.model_id, lease.generation): lease for lease in post.leases}
        for model_id, known in self._generations.items():
            lease = reported.get((model_id, known.serving.generation))
            if lease is not None:
                known.renew(post.gateway_id, now_s, event).claim = lease.slots
                known.note_use(lease, now_s)
            holding = known.holdings.get(post.gateway_id)
            if lease is None and seen_event:
                known.goes_without(post.gateway_id)
            if holding is not None:
                holding.report(_said(lease), seen_event=seen_event, now_s=now_s, settle_s=self.cancel_settle_s)
            if post.leaving:
                known.end(post.gateway_id, in_order=True, now_s=now_s)

    def _call_back(self, gateway_id: str, event: int) -> None:
        for known in self._generations.values():
            holding = known.holdings.get(gateway_id)
            if holding is not None and holding.told:
                holding.tell(0, event)

    def _slots(self) -> Iterator[tuple[SlotChange, int]]:
        for model_id, known in self._generations.items():
            if known.serving.parallel is None:
                continue
            for key, holding in known.holdings.items():
                change = SlotChange(
                    gateway_id=key, model_id=model_id, generation=known.serving.generation, slots=holding.told
                )
                yield change, holding.told_event

    def _find(self, model_id: str, generation: int) -> LeasedGeneration | None:
        known = self._generations.get(model_id)
        return known if known is not None and known.serving.generation == generation else None

    def _known(self, gateway_id: str, now_s: float) -> _Gateway | TooMany:
        """Return what is known of a gateway; a new one is taken in as long as there is room."""
        self._expire(now_s)
        if gateway_id not in self._gateways:
            if len(self._gateways) >= self._max_gateways and not self._forget_one():
                return TooMany(len(self._gateways))
            self._gateways[gateway_id] = _Gateway(now_s)
        return self._gateways[gateway_id]

    def _forget_one(self) -> bool:
        """Forget the gateway that was heard least lately of those that hold nothing."""
        holding = {key for known in self._generations.values() for key in known.holdings}
        idle = [key for key in self._gateways if key not in holding]
        if idle:
            del self._gateways[min(idle, key=lambda key: self._gateways[key].heard_s)]
        return bool(idle)

    def _expire(self, now_s: float) -> None:
        for known in self._generations.values():
            known.expire(now_s, self.ttl_s)
            if self.are_earlier_over(now_s):
                known.forget_unheard()
        silent_s = REMEMBERED_TTLS * self.ttl_s
        for key in [key for key, gateway in self._gateways.items() if now_s - gateway.heard_s >= silent_s]:
            del self._gateways[key]


def _said(lease: Lease | None) -> Said:
    return Said() if lease is None else Said(lease.in_flight, lease.waiting, lease.oldest_wait_s, lease.cancelled)
