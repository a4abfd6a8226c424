"""The gateway's half of the limits of one key: what it holds, what a request takes, and when the store is asked.

    request --take--> Admission            held already: nothing waits
                      Denial               the store has said no, and that still holds
                      None                 the store has to be asked

A request takes of every limit, or of none; but for loads: without one left it may go where its model is loaded. While
the store is silent what is held goes on; beyond that a gateway may hold the key to its whole limits by itself
(``take_alone``), and the store hears of that when it is back. Decides; ``gateway/data/limiter.py`` asks the store and
wakes who waits.
"""

from collections.abc import Callable, Sequence
from math import inf

import msgspec

from cortex.contract.key import KeyLimits
from cortex.fleet.quota import (
    CONCURRENT,
    KINDS,
    LEASE_S,
    RENEW_S,
    Kind,
    PlaceAnswer,
    PlaceReport,
    QuotaAnswer,
    QuotaReport,
    bounds,
)
from cortex.fleet.quota_meter import PLENTY, SAFE, Meter

IDLE_S = 1.0
"""So long after its last request a gateway gives back what it holds, while others have requests of the key."""
IDLE_ALONE_S = 60.0
"""Likewise while there is no other, and one would find plenty: what is held here is in nobody's way."""
SCARCE_S = 0.4
"""So often the store is told of what others may miss, and says whether they do."""
MOST_HOPING = 64
"""So many requests of a key wait here at most for what others may give back: each is looked at again and again."""

MAX_UNBOUNDED_ANSWER = 4096
"""What an answer may take of which the request does not say how long it may be."""


class Asked(msgspec.Struct, frozen=True):
    """What a request takes of limits in tokens.

    ``answer``: as the caller bounds all ``answers`` together; None where it does not.
    """

    prompt: int
    answer: int | None
    answers: int = 1

    @property
    def tokens(self) -> int:
        """What is reserved."""
        return self.prompt + (MAX_UNBOUNDED_ANSWER * self.answers if self.answer is None else self.answer)


class Denial(msgspec.Struct, frozen=True):
    """The store has no more of a limit. ``kind`` None: of places. ``need``: what the request takes of it.

    ``elsewhere``: what other gateways may give back, see ``Holding.may_hope``.
    """

    kind: Kind | None
    limit: int
    need: int
    left: int
    retry_in_s: float
    elsewhere: int = 0


class Standing(msgspec.Struct, frozen=True):
    """How a limit stands, for who asks."""

    limit: int
    remaining: int
    reset_s: float


class Admission:
    """What one request has taken. Settled exactly once, on every way out."""

    __slots__ = ("_has_left", "_has_loaded", "_holding", "_load_epoch", "_loads", "is_over", "is_unchecked", "taken")

    def __init__(self, holding: "Holding", taken: tuple[tuple[Meter, int, int], ...], *, is_unchecked: bool) -> None:
        self._holding = holding
        self._loads = holding.loads
        self._load_epoch: int | None = None
        """In which epoch a load is reserved for it; None: none is."""
        self._has_loaded = self._has_left = False
        self.taken = taken
        """Of which limits in tokens how much is reserved, and in which of their epochs."""
        self.is_over = False
        self.is_unchecked = is_unchecked
        """Without the store."""

    def settle(self, used: int | None) -> None:
        """The request is over, and took so many tokens; None: nobody knows, so it is taken for what was reserved."""
        if self.is_over:
            return
        self.is_over = True
        for meter, amount, epoch in self.taken:
            meter.settle(amount, epoch, amount if used is None else used)
        self.placed()
        self.leave()

    def leave(self) -> None:
        """Give back its place among those in flight: with the last byte of its answer its caller may send the next."""
        if not self._has_left:
            self._has_left = True
            self._holding.in_flight -= 1

    def no_load_s(self, now_s: float) -> float | None:
        """Reserve a load, should one be needed for it; return for how long none may be, None when one may.

        However often it asks, and its load is tried on other nodes, it counts as one.
        """
        loads = self._loads
        if loads is None or self._has_loaded or self._load_epoch is not None:
            return None
        left_s = self._holding.lacks_load_s(now_s, is_alone=self.is_unchecked)
        if left_s is None:
            loads.reserved += 1  # most need none, so it is no measure of what is to be held ahead
            self._load_epoch = loads.epoch
            return None
        return max(left_s, 1.0)  # those that wait for their places may give theirs back soon

    def loading(self) -> None:
        """A load was begun for it."""
        self._has_loaded = True

    def placed(self) -> None:
        """It has a place, or needs none any more: what was reserved for a load is settled."""
        if self._loads is not None and self._load_epoch is not None:
            self._loads.settle(1, self._load_epoch, int(self._has_loaded))
            self._load_epoch = None


class Holding:
    """Of one key at one gateway. ``number`` gives out the numbers of reports, which never repeat.

    ``epoch_s``: the gateway's own UTC clock, by which windows are while the store is silent.
    """

    def __init__(
        self, key_id: str, limits: KeyLimits, holder: str, number: Callable[[], int], epoch_s: Callable[[], float]
    ) -> None:
        self.key_id = key_id
        self._holder = holder
        self._number = number
        self._epoch_s = epoch_s
        bound = bounds(limits)
        self.meters = [Meter(kind, bound[kind.name]) for kind in KINDS if kind.name in bound]
        self._hard = [meter for meter in self.meters if meter.kind.unit != "cold_starts"]
        self.loads = next((meter for meter in self.meters if meter.kind.unit == "cold_starts"), None)
        """The loads that its requests may cause."""
        self._in_tokens = min((meter.limit for meter in self.meters if meter.is_in_tokens), default=None)
        self._most = bound.get(CONCURRENT)
        self.in_flight = 0
        self._places = 0
        self._places_low = 0
        self._places_remaining = self._most or 0
        self.places_end_s = -inf
        """When its places may be others'."""
        self._places_denied_until_s = -inf
        self._places_elsewhere = self._places_given = 0
        self._places_are_wanted = self._is_wanted = False
        self._since = 0
        """The report from which on the counts count; 0: nothing was reported yet."""
        self._asked: tuple[QuotaReport, float] | None = None
        self._sent_s = -inf
        self._used_s = -inf
        self._holders = 1

    @property
    def is_asking(self) -> bool:
        """A report is on its way."""
        return self._asked is not None

    @property
    def is_idle(self) -> bool:
        """Nothing of it is in use, and the store knows of nothing."""
        return not self.in_flight and not self._since and self._asked is None and not self._is_unbooked

    @property
    def _is_unbooked(self) -> bool:
        return any(meter.unbooked for meter in self.meters)

    @property
    def reserved(self) -> int:
        """Tokens and loads that are reserved for running requests, over all limits."""
        return sum(meter.reserved for meter in self.meters)

    def too_large(self, asked: Asked) -> Meter | None:
        """Return the limit that a request would take more of than there can ever be."""
        answer = asked.answer
        if answer is None or self._in_tokens is None or answer <= self._in_tokens:
            return None
        return next(meter for meter in self.meters if meter.is_in_tokens and answer > meter.limit)

    def take(self, asked: Asked, now_s: float) -> Admission | Denial | None:
        """Let a request in by what is held."""
        needs = []
        for meter in self._hard:
            self._close_over(meter, now_s)
            need = self._need(meter, asked)
            if meter.free < need or now_s >= meter.ends_s:
                if now_s >= meter.denied_until_s or need <= meter.free + meter.denied_free:
                    return None
                left = max(0, meter.free + meter.denied_free)
                return Denial(meter.kind, meter.limit, need, left, meter.denied_until_s - now_s, meter.elsewhere)
            needs.append((meter, need))
        if self._most is not None and (self.in_flight >= self._places or now_s >= self.places_end_s):
            if now_s >= self._places_denied_until_s:
                return None
            return Denial(None, self._most, 1, 0, self._places_denied_until_s - now_s, self._places_elsewhere)
        if self.loads is not None and self.lacks_load_s(now_s, is_alone=False) == 0.0:
            return None  # whether there is one the store has to say
        return self._let_in(needs, now_s, is_unchecked=False)

    def may_hope(self, denial: Denial, before: Sequence[Asked]) -> bool:
        """Tell whether others may give back what was denied, and what those take who wait for the same before it."""
        if not denial.elsewhere or len(before) >= MOST_HOPING:
            return False
        meter = next((meter for meter in self._hard if meter.kind is denial.kind), None)
        taken = sum(1 if meter is None else self._need(meter, asked) for asked in before)
        return denial.need + taken <= denial.left + denial.elsewhere

    def lacks_load_s(self, now_s: float, *, is_alone: bool) -> float | None:
        """Return for how long no load may be begun, None when one may be; 0: nobody has asked the store."""
        loads = self.loads
        if loads is None:
            return None
        if is_alone:
            if now_s >= loads.ends_s:
                loads.open_alone(now_s, self._epoch_s())
            return None if loads.limit > loads.spent + loads.reserved else loads.ends_s - now_s
        self._close_over(loads, now_s)
        if loads.free > 0:
            return None
        return max(0.0, loads.denied_until_s - now_s)

    def _close_over(self, meter: Meter, now_s: float) -> None:
        if now_s >= meter.ends_s and (meter.window is not None or meter.granted):
            meter.close()

    def take_alone(self, asked: Asked, now_s: float) -> Admission | Denial:
        """Let a request in without the store, by this gateway's own counts alone."""
        needs = []
        for meter in self._hard:
            if now_s >= meter.ends_s:
                meter.open_alone(now_s, self._epoch_s())
            need = self._need(meter, asked)
            left = meter.limit - meter.spent - meter.reserved
            if left < need:
                return Denial(meter.kind, meter.limit, need, max(0, left), meter.ends_s - now_s)
            needs.append((meter, need))
        if self._most is not None and self.in_flight >= self._most:
            return Denial(None, self._most, 1, 0, 1.0)
        return self._let_in(needs, now_s, is_unchecked=True)

    def _let_in(self, needs: list[tuple[Meter, int]], now_s: float, *, is_unchecked: bool) -> Admission:
        for meter, need in needs:
            meter.reserve(need)
        self.in_flight += 1
        self._used_s = now_s
        taken = tuple([(meter, need, meter.epoch) for meter, need in needs if meter.is_in_tokens])
        return Admission(self, taken, is_unchecked=is_unchecked)

    def _need(self, meter: Meter, asked: Asked) -> int:
        """What a request takes of a limit; never more than there is of it, where only we think that it takes more."""
        if not meter.is_in_tokens:
            return 1
        return min(asked.tokens, meter.limit) if meter.limit else 1

    # Asking the store

    def wants_to_ask(self, now_s: float) -> bool:
        """Tell, after a request was let in, whether it is time to ask for more, before anybody waits for it."""
        if self._asked is not None or not self._since or self._is_unused(now_s):
            return False
        if self._is_wanted:
            return self._is_missed()
        for meter in self.meters:
            if meter.free < meter.low and now_s >= meter.dry_until_s and now_s >= meter.denied_until_s:
                return True
        return (
            self._most is not None
            and self.in_flight > 0  # else it would take at once what it has just given back
            and self._places - self.in_flight < self._places_low
            and self._places_remaining > 0
            and now_s >= self._places_denied_until_s
        )

    def is_due(self, now_s: float) -> bool:
        """Tell, now and then, whether the store is to be told something: that it goes on, or what is given back."""
        if self._asked is not None or not (self._since or self._is_unbooked):
            return False
        if self._is_unused(now_s):
            return not self.in_flight or self._holds_free() or now_s - self._sent_s >= RENEW_S
        if self._places_are_short and self._places > self.in_flight:
            return True
        if now_s - self._sent_s >= SCARCE_S and self._is_scarce():
            return True
        return now_s - self._sent_s >= RENEW_S or self._has_closed(now_s) or self.wants_to_ask(now_s)

    def roll(self) -> None:
        """Half a second has passed: look at what it took."""
        for meter in self.meters:
            meter.lately = max(meter.taken, meter.lately // 2)
            meter.taken = 0

    def report(self, waiting: Sequence[Asked], now_s: float) -> QuotaReport:
        """Return what the store is to be told; nothing else may be sent before its answer, or its failure, is here."""
        number = self._number()
        is_unused = not waiting and self._is_unused(now_s)
        meters = {}
        for meter in self.meters:
            if now_s >= meter.ends_s and meter.window is not None:
                meter.close()
            gives_back = is_unused or meter.is_wanted
            if gives_back:
                meter.let_go()
            needs = [self._need(meter, asked) for asked in waiting]
            meters[meter.kind.name] = meter.report(sum(needs), min(needs, default=0), is_ahead=not gives_back)
        report = QuotaReport(
            key_id=self.key_id,
            holder=self._holder,
            number=number,
            since=self._since or number,
            meters=meters,
            places=self._place_report(len(waiting), now_s, is_unused=is_unused),
            # what the store has not heard of it takes only from who stays: counts that it has closed begin anew
            is_leaving=is_unused and not self.in_flight and not self._is_unbooked,
        )
        self._asked = report, now_s
        return report

    def _place_report(self, waiting: int, now_s: float, *, is_unused: bool) -> PlaceReport | None:
        if self._most is None:
            return None
        is_short = self._places_are_short or self._places_are_wanted
        ahead = 0 if is_unused or is_short else max(1, self.in_flight // 2, self._most // 16)
        if is_unused or now_s >= self.places_end_s:
            self._places = min(self._places, self.in_flight)
        elif self._holders > 1 or is_short:  # they are given back with the end of a request: others may want them
            self._places = min(self._places, self.in_flight + ahead)
        kept = max(0, self._places - self.in_flight)
        return PlaceReport(limit=self._most, in_flight=self.in_flight, kept=kept, need=waiting, ahead=ahead)

    def answered(self, answer: QuotaAnswer | None, now_s: float) -> None:
        """The store has answered; None: it had a newer report already."""
        assert self._asked is not None
        (report, sent_s), self._asked = self._asked, None
        self._sent_s = sent_s
        if answer is None:
            return
        self._holders = answer.holders
        if report.is_leaving:
            return self._left()
        if answer.is_forgotten or not self._since:
            self._since = report.number
        for meter in self.meters:
            name = meter.kind.name
            if name in answer.meters:
                said = report.meters[name]
                meter.answered(said, answer.meters[name], sent_s, now_s, is_forgotten=answer.is_forgotten)
        if report.places is not None and answer.places is not None:
            self._take_places(report.places, answer.places, sent_s)
        self._is_wanted = self._places_are_wanted or any(meter.is_wanted for meter in self.meters)

    def _left(self) -> None:
        """The store has closed the counts: they begin anew."""
        self._since = 0
        self._is_wanted = self._places_are_wanted = False
        for meter in self.meters:
            meter.left()

    def _take_places(self, said: PlaceReport, answer: PlaceAnswer, sent_s: float) -> None:
        self._places = said.in_flight + answer.free
        self.places_end_s = sent_s + LEASE_S * SAFE
        self._places_low = answer.free // 2 + 1
        self._places_remaining, self._places_given = answer.remaining, answer.free
        self._places_are_wanted = answer.is_wanted
        self._places_elsewhere = 0 if answer.retry_in_s is None else answer.elsewhere
        self._places_denied_until_s = -inf if answer.retry_in_s is None else sent_s + answer.retry_in_s

    def rest(self) -> None:
        """No request is to come any more."""
        self._used_s = -inf

    def failed(self, now_s: float) -> None:
        """The store has not answered; whether it took the report is not known, and need not be."""
        if self._asked is not None:
            self._since = self._since or self._asked[0].number
        self._asked = None
        self._sent_s = now_s

    # What is said of it

    def standing(self, now_s: float) -> tuple[Standing | None, Standing | None]:
        """Return how the limits stand: of requests, and the tightest of those in tokens."""
        requests = tokens = None
        for meter in self.meters:
            remaining = max(0, min(meter.limit, meter.free + meter.remaining))
            now = Standing(meter.limit, remaining, max(0.0, meter.resets_s - now_s))
            if meter.kind.unit == "requests":
                requests = now
            elif not meter.is_in_tokens:
                continue
            elif tokens is None or now.remaining < tokens.remaining:
                tokens = now
        return requests, tokens

    @property
    def _places_are_short(self) -> bool:
        """Others find no place, and have requests of the key or may: one kept for the next request is missing there."""
        if self._most is None or self._places_remaining:
            return False
        return self._holders > 1 or not self.in_flight

    def _is_unused(self, now_s: float) -> bool:
        idle_s = now_s - self._used_s
        if idle_s < IDLE_S:
            return False
        return self._holders > 1 or idle_s >= IDLE_ALONE_S or not self._leaves_enough()

    def _leaves_enough(self) -> bool:
        """Whether another gateway would find plenty, and enough for a request."""
        if self._most is not None and (self._places - self.in_flight) * PLENTY > self._places_remaining:
            return False
        return all(max(meter.free * PLENTY, meter.last) <= meter.remaining for meter in self.meters)

    def _is_scarce(self) -> bool:
        """Whether others may miss what is held here, or was when the store was last told."""
        if self._most is not None:
            places = max(self._places_given, self._places - self.in_flight)
            if places * PLENTY > self._places_remaining:
                return True
        return any(meter.is_scarce for meter in self.meters)

    def _is_missed(self) -> bool:
        """Whether others wait for what is not used here."""
        if self._places_are_wanted and self._places > self.in_flight:
            return True
        return any(meter.is_wanted and meter.free > 0 for meter in self.meters)

    def _has_closed(self, now_s: float) -> bool:
        return any(now_s >= meter.ends_s for meter in self.meters)

    def _holds_free(self) -> bool:
        return any(meter.free > 0 for meter in self.meters) or self._places > self.in_flight
