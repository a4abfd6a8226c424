"""Who waits, and who is next: the requests of one model in fair order, and the models that want the same devices.

Between callers the queue is fair by tokens (start-time fair queueing): each caller has a place in virtual time, which
its own requests move on by their tokens; whoever is furthest behind is next. Virtual time itself moves on by every
served request's tokens over the callers that wait. So

* of callers that always have something waiting each gets the same share of tokens, however many requests it sends;
* one that comes, or comes back, starts at the present: being away earns nothing;
* of one caller's requests the oldest is first;
* a caller's priority doubles its share with every step up, and halves it with every step down: nobody waits for ever.

Decides no replica and refuses nobody. Adding, leaving and serving cost O(log callers).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

import msgspec

from cortex.fleet.effect import Target
from cortex.fleet.replica import Replica

LEAST_TOKENS = 256
"""What a request counts at least: the shortest question takes a slot too, and its answer may be long."""

MOST_STEPS = 16
"""More steps of priority than that count as so many: a caller of the highest gets 65536 times the share."""

_KEPT_CALLERS = 64
_KEPT_DEADLINES = 64
"""So many that are of no use any more may be remembered before they are looked for."""


class QueueBound(msgspec.Struct, frozen=True, kw_only=True):
    """How many may wait for one model, in all and of one caller."""

    max_waiting: int = 1000
    max_waiting_per_caller: int = 100


class Waiting:
    """One request without a place. ``is_cold``: a load was needed for it; the rest as in ``event.RequestArrived``."""

    __slots__ = (
        "avoid",
        "caller",
        "head",
        "is_cold",
        "name",
        "no_load_s",
        "patience_s",
        "priority",
        "since_s",
        "ticket",
        "tokens",
    )

    def __init__(
        self,
        ticket: int,
        name: str,
        avoid: tuple[Target, ...],
        since_s: float,
        *,
        caller: str = "",
        tokens: int = 0,
        head: bytes = b"",
        patience_s: float | None = None,
        priority: int = 0,
        no_load_s: float | None = None,
    ) -> None:
        self.ticket = ticket
        self.name = name
        self.avoid = avoid
        self.since_s = since_s
        self.is_cold = False
        self.caller = caller
        self.tokens = tokens
        self.head = head
        self.patience_s = patience_s
        self.priority = priority
        self.no_load_s = no_load_s


class _Line:
    """Requests by age. They come in that order, but for those that have waited elsewhere before."""

    __slots__ = ("_by_ticket", "_is_sorted", "_newest_s")

    def __init__(self) -> None:
        # An OrderedDict and not a dict: taking the first of a dict over and over is quadratic.
        self._by_ticket: OrderedDict[int, Waiting] = OrderedDict()
        self._is_sorted = True
        self._newest_s = float("-inf")

    def __len__(self) -> int:
        return len(self._by_ticket)

    def add(self, waiting: Waiting) -> None:
        if waiting.since_s < self._newest_s:
            self._is_sorted = False
        else:
            self._newest_s = waiting.since_s
        self._by_ticket[waiting.ticket] = waiting

    def get(self, ticket: int) -> Waiting | None:
        return self._by_ticket.get(ticket)

    def take(self, ticket: int) -> Waiting | None:
        waiting = self._by_ticket.pop(ticket, None)
        if not self._by_ticket:
            self._is_sorted, self._newest_s = True, float("-inf")
        return waiting

    def values(self) -> Iterator[Waiting]:
        if not self._is_sorted:
            self._by_ticket = OrderedDict(
                (waiting.ticket, waiting) for waiting in sorted(self._by_ticket.values(), key=_age)
            )
            self._is_sorted = True
        return iter(self._by_ticket.values())

    def first(self) -> Waiting | None:
        return next(self.values(), None)


def _age(waiting: Waiting) -> tuple[float, int]:
    return waiting.since_s, waiting.ticket


class _Caller:
    """One caller's place in virtual time, and its requests in a line for each set of targets that they avoid.

    ``is_listed``: it is in the heap, though perhaps at an earlier place than its own. ``turn`` settles ties.
    """

    __slots__ = ("is_listed", "lines", "priority", "size", "start", "turn", "weight")

    def __init__(self) -> None:
        self.priority = 0
        self.weight = 1.0
        self.lines: dict[tuple[Target, ...], _Line] = {}
        self.size = 0
        self.start = 0.0
        self.turn = 0
        self.is_listed = False

    def first(self, blocked: set[tuple[Target, ...]]) -> Waiting | None:
        """Return the oldest request but for those that avoid what is all that there is."""
        heads = [line.first() for avoid, line in self.lines.items() if avoid not in blocked]
        return min((head for head in heads if head is not None), key=_age, default=None)


class Queue:
    """The requests that wait for one model."""

    def __init__(self) -> None:
        self._line = _Line()
        self._deadlines: list[tuple[float, int]] = []
        self._callers: dict[str, _Caller] = {}
        self._order: list[tuple[float, int, _Caller]] = []
        self._passed: list[_Caller] = []
        self._active = 0.0
        """The weights of all callers that wait; sums of powers of two, so that nothing is lost by rounding."""
        self._priorities: dict[int, int] = {}
        """How many callers wait, by their priority."""
        self._now = 0.0
        """Virtual time, in tokens."""
        self._turns = 0
        self._forget_at = _KEPT_CALLERS

    def __len__(self) -> int:
        return len(self._line)

    def values(self) -> Iterator[Waiting]:
        """Go through all, oldest first."""
        return self._line.values()

    def find(self, ticket: int) -> Waiting | None:
        """Return a request that waits here."""
        return self._line.get(ticket)

    def oldest_since_s(self) -> float | None:
        """Return since when the oldest waits, None when nobody does."""
        oldest = self._line.first()
        return None if oldest is None else oldest.since_s

    def refusal_for(self, waiting: Waiting, bound: QueueBound) -> str | None:
        """Return why a newcomer may not wait here: ``caller_full``, ``full``; None when it may.

        Who is not known by any name has no bound of its own.
        """
        caller = self._callers.get(waiting.caller)
        if waiting.caller and caller is not None and caller.size >= bound.max_waiting_per_caller:
            return "caller_full"
        return "full" if len(self._line) >= bound.max_waiting else None

    def add(self, waiting: Waiting) -> None:
        """Let a request wait."""
        self._line.add(waiting)
        if waiting.patience_s is not None:
            self._note_deadline(waiting)
        caller = self._callers.get(waiting.caller)
        if caller is None:
            if len(self._callers) >= self._forget_at and not self._passed:
                self._forget()
            caller = self._callers[waiting.caller] = _Caller()
        if not caller.size:
            self._set_priority(caller, waiting.priority)
            self._active += caller.weight
            caller.start = max(caller.start, self._now)
            self._put_behind(caller)
        caller.size += 1
        line = caller.lines.get(waiting.avoid)
        if line is None:
            line = caller.lines[waiting.avoid] = _Line()
        line.add(waiting)
        self._list(caller)

    def remove(self, ticket: int) -> Waiting | None:
        """Let a request go, served or not; None when it does not wait here."""
        waiting = self._line.take(ticket)
        if waiting is None:
            return None
        caller = self._callers[waiting.caller]
        line = caller.lines[waiting.avoid]
        line.take(ticket)
        if not line:
            del caller.lines[waiting.avoid]
        caller.size -= 1
        if not caller.size:
            self._active -= caller.weight
            self._count_priority(caller.priority, -1)
        return waiting

    def priority(self) -> int:
        """Return the highest priority of those who wait; 0 when nobody does."""
        return max(self._priorities, default=0)

    def overdue(self, now_s: float, bound_s: float) -> list[Waiting]:
        """Return those whose patience is over, oldest first: their own, for others ``bound_s``."""
        late: dict[int, Waiting] = {}
        due: list[tuple[float, int]] = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            deadline = heappop(self._deadlines)
            waiting = self._line.get(deadline[1])
            if waiting is not None and waiting.ticket not in late:
                late[waiting.ticket] = waiting
                due.append(deadline)
        for deadline in due:  # they are late until they are removed
            heappush(self._deadlines, deadline)
        for waiting in self._line.values():
            if now_s - waiting.since_s < bound_s:
                break
            if waiting.patience_s is None:
                late[waiting.ticket] = waiting
        return sorted(late.values(), key=_age)

    def serve(self, pick: Callable[[Waiting], Replica | None]) -> Iterator[tuple[Waiting, Replica]]:
        """Go through the queue in fair order; give out those that ``pick`` has a replica for. They have left it.

        Who avoids a target may be passed over; when there is nothing for one that avoids none, there is nothing for
        anybody. ``pick`` has to see what was given out before.
        """
        blocked: set[tuple[Target, ...]] = set()
        try:
            while (caller := self._next()) is not None:
                waiting = caller.first(blocked)
                if waiting is None:
                    self._passed.append(caller)
                    continue
                replica = pick(waiting)
                if replica is not None:
                    self._move_on(caller, waiting)
                    self.remove(waiting.ticket)
                self._relist(caller)
                if replica is not None:
                    yield waiting, replica
                elif waiting.avoid:
                    blocked.add(waiting.avoid)
                else:
                    return
        finally:
            passed, self._passed = self._passed, []
            for caller in passed:
                self._relist(caller)

    def upcoming(self, limit: int) -> list[Waiting]:
        """Return the next ones in fair order, as if there were something for each of them; nothing is changed."""
        lines: dict[str, list[Waiting]] = {}
        for waiting in self.values():
            lines.setdefault(waiting.caller, []).append(waiting)
        places = ((self._callers[name], name) for name in lines)
        order = [(caller.start, caller.turn, name, iter(lines[name])) for caller, name in places]
        heapify(order)
        found: list[Waiting] = []
        while order and len(found) < limit:
            start, _, name, line = heappop(order)
            first = next(line, None)
            if first is not None:
                found.append(first)
                cost = max(first.tokens, LEAST_TOKENS) / self._callers[name].weight
                place = (start + cost, self._turns + len(found), name, line)
                heappush(order, place)
        return found

    # Virtual time

    def _move_on(self, caller: _Caller, waiting: Waiting) -> None:
        tokens = max(waiting.tokens, LEAST_TOKENS)
        self._now = max(self._now, caller.start) + tokens / self._active
        caller.start += tokens / caller.weight
        self._put_behind(caller)

    def _set_priority(self, caller: _Caller, priority: int) -> None:
        """Of a caller that does not wait yet: one key has one priority."""
        caller.priority = priority
        caller.weight = 2.0 ** max(-MOST_STEPS, min(MOST_STEPS, priority))
        self._count_priority(priority, 1)

    def _count_priority(self, priority: int, by: int) -> None:
        count = self._priorities.get(priority, 0) + by
        if count:
            self._priorities[priority] = count
        else:
            del self._priorities[priority]

    def _put_behind(self, caller: _Caller) -> None:
        """Of those at one point in virtual time, let it be the last."""
        self._turns += 1
        caller.turn = self._turns

    def _list(self, caller: _Caller) -> None:
        if not caller.is_listed:
            caller.is_listed = True
            heappush(self._order, (caller.start, caller.turn, caller))

    def _relist(self, caller: _Caller) -> None:
        """Put one back that was taken from the heap."""
        caller.is_listed = False
        if caller.size:
            self._list(caller)

    def _next(self) -> _Caller | None:
        """Take the one furthest behind from the heap; it counts as listed until it is put back."""
        while self._order:
            start, turn, caller = heappop(self._order)
            if caller.size and (start, turn) == (caller.start, caller.turn):
                return caller
            self._relist(caller)
        return None

    # What is of no use any more

    def _forget(self) -> None:
        """Forget callers that wait for nothing and owe nothing: coming back they would start at the present anyway."""
        kept = {name: caller for name, caller in self._callers.items() if caller.size or caller.start > self._now}
        self._callers = kept
        self._order = [(caller.start, caller.turn, caller) for caller in kept.values() if caller.is_listed]
        heapify(self._order)
        self._forget_at = max(_KEPT_CALLERS, 2 * len(kept))

    def _note_deadline(self, waiting: Waiting) -> None:
        assert waiting.patience_s is not None
        if len(self._deadlines) > 2 * len(self._line) + _KEPT_DEADLINES:
            self._deadlines = [deadline for deadline in self._deadlines if self._line.get(deadline[1]) is not None]
            heapify(self._deadlines)
        heappush(self._deadlines, (waiting.since_s + waiting.patience_s, waiting.ticket))


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """A model that somebody waits for, among others that want the same devices."""

    model: str
    queue_priority: int
    oldest_since_s: float


def order_of(rivals: Iterable[Rival], *, now_s: float, starve_s: float) -> list[str]:
    """Return in which order models get the devices that they all want.

    1. Whose oldest request has waited for ``starve_s``, whatever its priority: oldest first.
    2. The others by ``queue_priority``, of equal ones the one whose oldest request waits longer.
    """

    def place(rival: Rival) -> tuple[bool, int, float, str]:
        is_starved = now_s - rival.oldest_since_s >= starve_s
        return not is_starved, 0 if is_starved else -rival.queue_priority, rival.oldest_since_s, rival.model

    return [rival.model for rival in sorted(rivals, key=place)]
