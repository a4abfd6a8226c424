"""Looks at a simulated node after every step, and says which rule is broken."""

from collections.abc import Iterable

from tests.simulation.tenancy import (
    DRAIN_S,
    GRACE_S,
    HEADROOM_MB,
    LONGEST_LOAD_S,
    LONGEST_REQUEST_S,
    LOOK_S,
    MAX_WAIT_S,
    TOTAL_MB,
    Tenancy,
)

from cortex.residency.eviction import Wish
from cortex.residency.fit import Infeasible, Reservation, Share, even_share_mb, even_shares
from cortex.residency.reservation import ReservationBook

TURN_S = LONGEST_REQUEST_S + 3 * LONGEST_LOAD_S + 4.0
"""How long one that is ahead can take: its victims' last requests, its load, and its protection after that."""
TURNS = 1
"""So many are ahead of one that waits at the longest wait, in what is drawn here."""


class Foul(AssertionError):
    """A rule is broken."""


class TenancyReferee:
    """Watches one node."""

    def __init__(self, node: Tenancy) -> None:
        self._node = node
        self._generations: dict[str, int] = {}
        self._evicted_s: dict[str, float] = {}

    def look(self) -> None:
        """Check everything that can be seen, and what has happened since the last look."""
        self._memory()
        self._engines()
        self._evictions()
        self._admissions()
        self._drains()
        self._waits()

    def rest(self) -> None:
        """Check that nothing is left once nothing happens any more."""
        node = self._node
        must(not node.drains, "a drain is left")
        must(not node.book.reservations, f"promises are left: {node.book.reservations}")
        loaded = {guest.key for guest in node.guests.values() if guest.status == "loaded"}
        must({resident.key for resident in node.book.residents} == loaded, "memory without an engine")
        must(not any(guest.requests for guest in node.guests.values()), "requests are left")
        must(node.tickets.waiting(node.now_s + 1000) == (), "tickets are left")

    def _memory(self) -> None:
        """Strangers, engines and promises together never pass what a device may give; nor do the processes alone.

        Counted here by hand: the arithmetic that is on trial has no say in it.
        """
        node = self._node
        for device, strangers_mb in enumerate(node.strangers_mb):
            held = {entry.key: share_mb(entry.shares, device) for entry in node.book.residents}
            promises = [(share_mb(entry.shares, device), entry.awaits) for entry in node.book.reservations]
            awaited = {key for _, awaits in promises for key in awaits}
            booked_mb = sum(mb for key, mb in held.items() if key not in awaited) + sum(
                max(mb, sum(held.get(key, 0) for key in awaits)) for mb, awaits in promises
            )
            running_mb = sum(
                even_share_mb(guest.need_mb, len(guest.devices))
                for guest in node.guests.values()
                if device in guest.devices and guest.has_engine
            )
            for name, mb in (("the books", booked_mb), ("the engines", running_mb)):
                over_mb = strangers_mb + mb - (TOTAL_MB - HEADROOM_MB)
                must(over_mb <= 0, f"{name} of device {device} are {over_mb} MiB over")

    def _engines(self) -> None:
        """Who has an engine has memory in the books; generations only grow."""
        node = self._node
        residents = {resident.key for resident in node.book.residents}
        for guest in node.guests.values():
            must(not guest.has_engine or guest.key in residents, f"{guest.key} runs without memory")
            must(guest.generation >= self._generations.get(guest.key, 0), f"{guest.key} goes back in time")
            self._generations[guest.key] = guest.generation
            must(guest.status != "loaded" or guest.has_engine, f"{guest.key} is loaded without an engine")

    def _evictions(self) -> None:
        node = self._node
        for guest, reason in node.cuts:
            must(reason == "forced", f"requests of {guest.key} were cut without force")
        for guest, wish in node.evictions:
            must(guest.has_been_let_go, f"{guest.key} was evicted before every gateway had let go of it")
            named = {victim.model_id: victim.generation for victim in wish.victims}
            must(named.get(guest.key) == guest.generation, f"{guest.key} was evicted in another generation than named")
            must(not guest.is_pinned, f"{guest.key} was evicted though it is pinned")
            stays_s = max(guest.min_residency_s, 2 * guest.load_s)
            left_s = guest.loaded_s + stays_s - node.now_s
            must(left_s <= 0, f"{guest.key} was evicted {left_s:.1f} s too early")
            since_s = node.now_s - self._evicted_s.get(guest.key, float("-inf"))
            must(since_s >= stays_s, f"{guest.key} was evicted twice within {since_s:.1f} s")
            self._evicted_s[guest.key] = node.now_s
        node.cuts, node.evictions = [], []

    def _admissions(self) -> None:
        """Whoever was admitted takes no victim that it would not have needed, and nobody's turn."""
        node = self._node
        for wish, admitted, rooms, since_s in node.admissions:
            book = without_load(node.book, wish.key)
            for key in admitted.victims:
                rest = tuple(other for other in admitted.victims if other != key)
                verdict = book.judge(wish.need_mb, wish.devices, rooms, without=rest)
                must(isinstance(verdict, Infeasible), f"{wish.key} fits without evicting {key}")
            mine = Reservation(key=wish.key, shares=even_shares(wish.need_mb, wish.devices))
            for older in self._waiting_longer(wish, since_s):
                theirs = [victim.model_id for victim in older.victims]
                need = (older.need_mb, older.devices, rooms)
                could = book.judge(*need, without=theirs)
                can = book.judge(*need, without=[*theirs, *admitted.victims], beside=[mine])
                is_robbed = isinstance(can, Infeasible) and not isinstance(could, Infeasible)
                must(not is_robbed, f"{wish.key} has taken the turn of {older.key}")
        node.admissions = []

    def _waiting_longer(self, wish: Wish, since_s: float) -> list[Wish]:
        """Return what others ask for on the same devices who were refused before this load was."""
        return [
            place.wish
            for place in self._node.queue.values()
            if place.since_s < since_s
            and place.late_s >= self._node.now_s
            and place.wish.key != wish.key
            and set(place.wish.devices) & set(wish.devices)
        ]

    def _drains(self) -> None:
        """A proposal ends within its grace, what is due as soon as no request runs, maintenance within its limit."""
        node = self._node
        for draining in node.drains:
            age_s = node.now_s - draining.begin_s
            limit_s = {"eviction": GRACE_S, "maintenance": DRAIN_S, "due": DRAIN_S + LONGEST_REQUEST_S}
            must(age_s <= limit_s[draining.drain.kind] + 3 * LOOK_S, f"a drain goes on for {age_s:.1f} s")

    def _waits(self) -> None:
        """Nobody who asks as told waits for longer than the longest wait and what was under way by then."""
        node = self._node
        bound_s = MAX_WAIT_S + TURNS * TURN_S
        for demand in node.demands.values():
            if demand.first_refusal_s is not None:
                waited_s = node.now_s - demand.first_refusal_s
                must(waited_s <= bound_s, f"{demand.guest.key} has waited {waited_s:.0f} s")


def without_load(book: ReservationBook, key: str) -> ReservationBook:
    """Return a copy of the books as they were before a load was admitted."""
    copy = ReservationBook(HEADROOM_MB)
    copy._residents = {entry.key: entry for entry in book.residents if entry.key != key}
    copy._reservations = {entry.key: entry for entry in book.reservations if entry.key != key}
    return copy


def share_mb(shares: Iterable[Share], device: int) -> int:
    return sum(share.declared_mb for share in shares if share.device == device)


def must(is_so: bool, words: str) -> None:
    if not is_so:
        raise Foul(words)
