"""The leases on one generation of an instance, and how its slots are divided among the gateways that hold it.

Never more slots than ``parallel`` are out. Idle ones are called back when somebody waits elsewhere, and given anew only
when the gateway they were with has shown that it knows. Everything is decided anew from what the gateways report.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cortex.contract.lease import Lease
from cortex.residency.holding import Holding
from cortex.residency.slot_share import Demand, fair_shares

MAX_ORPHANS = 256
ARRIVAL_S = 1.0
"""A request that a gateway has counted is in its engine after so long, or over."""
REST = ""
"""Stands for all gateways beyond those; no gateway is called so."""


class Serving(NamedTuple):
    """An instance that serves or drains, as leases see it."""

    model_id: str
    generation: int
    parallel: int | None
    """None: its engine takes whatever comes, and has no slots."""
    is_draining: bool = False
    held_before: frozenset[str] = frozenset()
    """Its engine was found running, and these gateways may hold it by an earlier neuron process; ``REST``: any."""

    @property
    def is_found(self) -> bool:
        """Whether somebody may hold it who was not heard by this process yet."""
        return bool(self.held_before)


class Usage(NamedTuple):
    """What gateways do with an instance; ``used_s``: when one last had a request there, None: none has reported yet."""

    in_flight: int = 0
    waiting: int = 0
    used_s: float | None = None


NO_USAGE = Usage()


class _Count(NamedTuple):
    """What the engine said when it was asked at ``asked_s``."""

    in_flight: int
    asked_s: float


class LeasedGeneration:
    """The holdings of one generation, by gateway."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.draining_event: int | None = None
        self.holdings: dict[str, Holding] = {}
        self._orphans: dict[str, int] = {}
        self._orphan_slots = 0
        self._orphaned_s = 0.0
        self._unheard = set(serving.held_before)
        """Who may still go by what an earlier process said."""
        self._may_claim = serving.is_found
        """Somebody's lease of an earlier process may be alive yet."""
        self._claimed = 0
        """Slots that were claimed from an earlier process: nobody unheard can have them."""
        self._reserve = (serving.parallel or 0) if self._unheard else 0
        """Slots that may be with somebody unheard."""
        self._has_lapsed = False
        """Slots have been lost with a lease, which is a change that nobody has been told of yet."""
        self._counted: _Count | None = None
        self._used_s: float | None = None

    @property
    def usage(self) -> Usage:
        """What the gateways say that they do with it."""
        waiting = sum(holding.waiting for holding in self.holdings.values())
        return Usage(self.in_flight, waiting, self._used_s)

    def note_use(self, lease: Lease, now_s: float) -> None:
        """Take in when a gateway last had a request there; one that never had counts from when it was first heard."""
        is_in_use = lease.in_flight or lease.waiting
        idle_s = 0.0 if is_in_use or (lease.idle_s is None and self._used_s is None) else lease.idle_s
        if idle_s is not None:
            self._used_s = max(self._used_s or 0.0, now_s - idle_s)

    @property
    def in_flight(self) -> int:
        """Requests under way by what the gateways say, or said last before their lease ended.

        Of a report that is older than the engine's own count, and acknowledges no drain, no more than is in the engine.
        """
        orphans = sum(self._orphans.values())
        old = sum(holding.in_flight for holding in self.holdings.values() if self._is_outdated(holding))
        new = sum(holding.in_flight for holding in self.holdings.values()) - old
        return orphans + new + (min(old, self._counted.in_flight) if self._counted is not None else old)

    @property
    def is_claimed_whole(self) -> bool:
        """Whether all slots were claimed from an earlier process, so that nobody unheard can have one."""
        return self.serving.parallel is not None and self._claimed >= self.serving.parallel

    @property
    def is_known(self) -> bool:
        """Whether everybody is known here who may have a slot."""
        return not self._unheard or self.is_claimed_whole

    @property
    def remembered(self) -> frozenset[str]:
        """The gateways that the next process has to reckon with; ``REST`` stands for those without a name here."""
        return frozenset((*self.holdings, *self._orphans, *self._unheard))

    @property
    def debris(self) -> int:
        """Slots that nobody may use yet, because the engine may not be done with them."""
        return self._orphan_slots + sum(holding.debris for holding in self.holdings.values())

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits for a slot that the engine's own count might show to be free."""
        holdings = self.holdings.values()
        return self.debris > 0 and any(one.is_short or (one.waiting > 0 and one.debris > 0) for one in holdings)

    def serve(self, serving: Serving, event: int) -> None:
        """Take in how the instance is from change ``event`` on."""
        if serving.is_draining != (self.draining_event is not None):
            self.draining_event = event if serving.is_draining else None
        self.serving = serving

    def renew(self, gateway_id: str, now_s: float, event: int) -> Holding:
        """Return a gateway's lease, which begins anew; what it has under way it tells itself from now on."""
        self._orphans.pop(gateway_id, None)
        holding = self.holdings.setdefault(gateway_id, Holding(gateway_id, event))
        holding.renewed_s = now_s
        return holding

    def end(self, gateway_id: str, *, in_order: bool, now_s: float) -> None:
        """End a lease; what it had under way may go on, and only the engine knows when that is over."""
        holding = self.holdings.pop(gateway_id, None)
        if holding is not None:
            if holding.in_flight:
                key = gateway_id if len(self._orphans) < MAX_ORPHANS else REST
                self._orphans[key] = self._orphans.get(key, 0) + holding.in_flight
            self._orphan_slots += holding.leftovers if in_order else holding.held
            self._has_lapsed |= holding.told > 0
            self._orphaned_s = max(self._orphaned_s, now_s)

    def expire(self, now_s: float, ttl_s: float) -> None:
        """End the leases that have not been renewed."""
        for key, holding in list(self.holdings.items()):
            if now_s - holding.renewed_s >= ttl_s:
                self.end(key, in_order=False, now_s=holding.renewed_s + ttl_s)

    def count(self, in_flight: int, asked_s: float) -> None:
        """Take in the engine's own count: what is not in it occupies no slot."""
        self._counted = _Count(in_flight, asked_s)
        reported = sum(holding.in_flight for holding in self.holdings.values())
        excess = max(0, self.debris - max(0, in_flight - reported))
        for holding in self._ordered():
            excess = holding.clear(excess, asked_s)
        if asked_s >= self._orphaned_s:
            self._orphan_slots -= min(excess, self._orphan_slots)
            if in_flight == 0:
                self._orphans, self._orphan_slots = {}, 0

    def goes_without(self, gateway_id: str) -> None:
        """Note that a gateway has heard of this process, and has nothing here of an earlier one."""
        self._unheard.discard(gateway_id)

    def forget_unheard(self) -> None:
        """Note that every lease has ended that an earlier process gave."""
        self._unheard.clear()
        self._may_claim, self._reserve = False, 0

    def share(self, now_s: float, settle_s: float, event: int) -> bool:
        """Divide the slots anew where somebody waits or some are free; tell whether that changed anything."""
        self._settle(now_s, settle_s)
        has_lapsed, self._has_lapsed = self._has_lapsed, False
        leases = [holding for holding in self._ordered() if holding.is_heard]
        if self.draining_event is not None or self.serving.parallel is None or not leases:
            self._unheard.difference_update(one.gateway_id for one in leases if one.seen_event)
            return has_lapsed
        before = [holding.told for holding in leases]
        has_claimed = self._may_claim and not self.is_claimed_whole and self._honour(leases, event)
        self._take_over(leases, now_s)
        self._hand_out(leases, self._call_back(leases, event), event)
        return has_lapsed or has_claimed or before != [holding.told for holding in leases]

    def _is_outdated(self, holding: Holding) -> bool:
        """Tell whether the engine's own count knows better than a report, which is then no answer to a drain."""
        if self._counted is None or self._counted.asked_s < holding.renewed_s + ARRIVAL_S:
            return False
        return self.draining_event is None or holding.seen_event < self.draining_event

    def _ordered(self) -> list[Holding]:
        return [self.holdings[key] for key in sorted(self.holdings)]

    def _free(self) -> int:
        """Return how many slots are certainly with nobody; less than none where more may be in use than there are."""
        held = sum(holding.held for holding in self.holdings.values())
        return (self.serving.parallel or 0) - self._orphan_slots - held

    def _settle(self, now_s: float, settle_s: float) -> None:
        """Forget what must have left the engine by now; one that counts says itself when orphans have."""
        for holding in self.holdings.values():
            holding.settle(now_s)
        if self._counted is None and now_s - self._orphaned_s >= settle_s:
            # Nobody will ever say that they are over, and a drain would wait for them for good.
            self._orphans, self._orphan_slots = {}, 0

    def _honour(self, leases: Sequence[Holding], event: int) -> bool:
        """Let everybody keep what an earlier process has given; what nobody claims may be with somebody unheard.

        Only what was claimed in a first report counts: later ones may speak of slots that were given since. Tells
        whether there were such claims: what is called back in the same breath is a change too.
        """
        before = self._claimed
        for holding in leases:
            raised = 0 if holding.is_honoured else min(holding.claim, holding.held + self._free())
            holding.is_honoured = True
            if raised > holding.told:
                self._claimed += raised - holding.told
                holding.tell(raised, event)
        return self._claimed > before

    def _take_over(self, leases: Sequence[Holding], now_s: float) -> None:
        """Find out whether somebody unheard may have slots: who goes by no more than it was told here has none of old.

        Who was started anew under its name has none either; what its last process had under way may still be in the
        engine, until that says otherwise.
        """
        self._unheard.difference_update(one.gateway_id for one in leases if one.seen_event and one.claim <= one.told)
        if not self.is_known:
            self._reserve = max(0, (self.serving.parallel or 0) - self._claimed)
        elif self._reserve:
            self._reserve = 0
            if not self.is_claimed_whole:
                self._orphan_slots += max(0, self._free())
                self._orphaned_s = max(self._orphaned_s, now_s)

    def _call_back(self, leases: Sequence[Holding], event: int) -> dict[str, int]:
        """Call idle slots back where somebody waits elsewhere; return what everybody is to have."""
        if not any(holding.is_short for holding in leases):
            return {holding.gateway_id: max(holding.told, holding.in_flight) for holding in leases}
        slots = max(0, (self.serving.parallel or 0) - self._orphan_slots - self._reserve)
        shares = fair_shares([Demand(h.gateway_id, h.wanted, h.oldest_wait_s) for h in leases], slots)
        spare = slots - sum(shares.values())
        for holding in leases:  # spare slots stay where they are: moving them takes time and serves nobody
            kept = min(spare, max(0, holding.told - shares[holding.gateway_id]))
            spare -= kept
            shares[holding.gateway_id] += kept
            if shares[holding.gateway_id] < holding.told:
                holding.tell(shares[holding.gateway_id], event)
        return shares

    def _hand_out(self, leases: Sequence[Holding], shares: dict[str, int], event: int) -> None:
        """Give free slots to those who wait, the longest first; what nobody needs is divided evenly."""
        told, free = {holding.gateway_id: holding.told for holding in leases}, self._free() - self._reserve
        if free < 0:
            return
        for holding in sorted(leases, key=lambda one: -one.oldest_wait_s):
            key, held = holding.gateway_id, holding.held
            told[key] = max(told[key], min(shares[key], held + free))
            free -= max(0, told[key] - held)  # what it may be using anyway costs nothing
        each, odd = divmod(free, len(leases))
        for place, key in enumerate(sorted(told, key=lambda key: (told[key], key))):
            told[key] += each + (place < odd)
        for holding in leases:
            if told[holding.gateway_id] > holding.told:
                holding.tell(told[holding.gateway_id], event)
