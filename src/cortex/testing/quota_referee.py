"""What must never happen when gateways share the limits of a key; counts by itself, from what was let in and when.

* Requests of a window, over all gateways, are never more than its limit.
* Nor are tokens, those of running requests as reserved, but for what answers took beyond their reservations.
* Nor are loads that were begun for requests.
* Nor are requests in flight, but for those of gateways whose lease has ended.
* No request is refused while there is enough of the window that nobody has used or holds.
* Where nothing goes wrong, none is refused that has been within the limits for ``SERVED_S``, whoever holds what it
  needs. In the last thousandth of a window gateways use nothing of it.
* The store never counts less than was used, and more only by what gateways held that were closed.
* In the end nothing is in flight, reserved or held by anybody.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import msgspec

from cortex.contract.key import KeyLimits
from cortex.fleet.quota import CONCURRENT, KIND, QuotaAnswer, QuotaReport, bounds, window_of
from cortex.fleet.quota_book import HeldMeter, QuotaBook
from cortex.fleet.quota_holding import Admission, Asked, Denial, Holding
from cortex.testing.referee import SimulationFailure

COLD = "cold_starts_per_day"
SERVED_S = 2.0


class Seen(msgspec.Struct, eq=False):
    """One request that was let in: when, by the store's clock, and what was reserved."""

    holding: Holding
    at_s: float
    reserved: dict[str, int]
    """By limit."""
    is_lapsed: bool = False
    """The lease of its gateway has ended meanwhile: others may have its place."""

    @property
    def most(self) -> int:
        """What was reserved of the limit of which it was most."""
        return max(self.reserved.values(), default=0)


class QuotaReferee:
    """Of one key. ``now_s``: the store's clock."""

    def __init__(self, limits: KeyLimits, now_s: Callable[[], float]) -> None:
        self._bounds = bounds(limits)
        self._now_s = now_s
        self._running: list[Seen] = []
        self._used: Counter[tuple[str, int]] = Counter()
        """By limit and window; of running requests what is reserved."""
        self._history: defaultdict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
        """What was used before it changed, and when that was."""
        self._excess: Counter[str] = Counter()
        self._lost: Counter[tuple[str, int]] = Counter()
        """What those held of a window whose counts were closed."""
        self.admitted = self.denied = self.lost_tokens = 0

    def deny(self, denial: Denial, waiting: Iterable[Asked] | None = None) -> None:
        """A request was refused. ``waiting``: all others that wait for an answer, where nothing goes wrong."""
        self.denied += 1
        if waiting is None:
            return
        others = list(waiting)
        if denial.kind is None:
            used = len(self._running) + len(others)
        else:
            window, end = window_of(denial.kind.span, self._now_s())
            if self._now_s() >= end - (end - window) / 1000:
                return
            needs = [asked.tokens if denial.kind.unit == "tokens" else 1 for asked in others]
            used = self._most_used(denial.kind.name, window) + sum(needs)
        self._check(used + denial.need > denial.limit, f"refused {denial} with {used} used")

    def admit(self, holding: Holding, admission: Admission) -> Seen:
        """A request was let in."""
        reserved = {meter.kind.name: amount for meter, amount, _ in admission.taken}
        seen = Seen(holding, self._now_s(), reserved)
        self._running.append(seen)
        self.admitted += 1
        for name in self._bounds.keys() & KIND.keys() - {COLD}:
            self._count(name, seen.at_s, reserved.get(name, 1))
        running = sum(not one.is_lapsed for one in self._running)
        self._check(running <= self._bounds.get(CONCURRENT, running), f"{running} requests in flight")
        return seen

    def load(self, at_s: float) -> None:
        """A load was begun for a request that was allowed it at that time."""
        if COLD in self._bounds:
            self._count(COLD, at_s, 1)

    def _most_used(self, name: str, window: int) -> int:
        """Return how much was used at most in the last ``SERVED_S``."""
        most, since_s = self._used[name, window], self._now_s() - SERVED_S
        for at_s, used in reversed(self._history[name, window]):
            if at_s < since_s:
                break
            most = max(most, used)
        return most

    def _count(self, name: str, at_s: float, amount: int) -> None:
        window = window_of(KIND[name].span, at_s)[0]
        self._history[name, window].append((self._now_s(), self._used[name, window]))
        self._used[name, window] += amount
        used = self._used[name, window]
        self._check(used <= self._bounds[name], f"{used} of {self._bounds[name]} {name}")

    def end(self, seen: Seen, used: int | None) -> None:
        """A request is over."""
        self._running.remove(seen)
        for name, reserved in seen.reserved.items():
            if used is not None:
                self._count(name, seen.at_s, min(0, used - reserved))
                self._excess[name] += max(0, used - reserved)

    def die(self, holding: Holding) -> None:
        """A gateway is gone, with its requests."""
        self._running = [seen for seen in self._running if seen.holding is not holding]

    def lapse(self, holding: Holding) -> None:
        """The lease of a gateway has ended."""
        for seen in self._running:
            seen.is_lapsed |= seen.holding is holding

    def before(self, book: QuotaBook, report: QuotaReport, now_s: float) -> None:
        """A report reaches the store: note what is lost with those whose counts it closes."""
        row: HeldMeter | None
        for name, holder in book.holders.items():
            is_mine = name == report.holder and report.number > holder.number
            if holder.expires_s <= now_s or (is_mine and holder.since != report.since):
                for limit, row in holder.meters.items():
                    self._lose(limit, row.window, row.held)
            elif is_mine:
                for limit, said in report.meters.items():
                    row = holder.meters.get(limit)
                    if row is not None and said.window != row.window:
                        self._lose(limit, row.window, row.held)

    def after(self, book: QuotaBook, report: QuotaReport, answer: QuotaAnswer) -> None:
        """A report was answered: nobody may be refused while there is enough that nobody has used or holds."""
        for name, said in answer.meters.items():
            if said.retry_in_s is None:
                continue
            rows = [row for holder in book.holders.values() if (row := holder.meters.get(name)) is not None]
            held = sum(row.held for row in rows if row.window == said.window)
            gone = self._used[name, said.window] + self._lost[name, said.window] + self._excess[name]
            left, least = self._bounds[name] - gone - held + said.free, report.meters[name].least
            self._check(left < least, f"refused {least} {name} of {left} that are left")

    def check_rest(self, book: QuotaBook, holdings: Iterable[Holding]) -> None:
        """Everything is over."""
        for holding in holdings:
            self._check(not holding.in_flight and not holding.reserved, "a gateway has something in use")
            self._check(holding.is_idle, "a gateway holds something")
        self._check(not any(one.meters and one.expires_s > self._now_s() for one in book.holders.values()), "held")
        for name in self._bounds.keys() & KIND.keys():
            self._check_count(book, name)

    def _check_count(self, book: QuotaBook, name: str) -> None:
        window = window_of(KIND[name].span, self._now_s())[0]
        rows = [book.closed.get(name), *(holder.meters.get(name) for holder in book.holders.values())]
        counted = sum(row.spent + row.held for row in rows if row is not None and row.window == window)
        held = sum(row.held for row in rows if row is not None and row.window == window)
        used, lost = self._used[name, window], self._lost[name, window] + held
        if KIND[name].unit == "tokens":
            self.lost_tokens += max(0, counted - used)
        self._check(counted >= used, f"{counted} {name} counted, {used} used")
        most = used + lost + self._excess[name]
        self._check(counted <= most, f"{counted} {name} counted, {used} used, {lost} lost")

    def _lose(self, limit: str, window: int, amount: int) -> None:
        self._lost[limit, window] += amount

    def _check(self, is_right: bool, words: str) -> None:
        if not is_right:
            raise SimulationFailure(f"{self._now_s():.3f}: {words}")
