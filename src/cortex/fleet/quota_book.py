"""The store's half of the limits of one key: who holds what, and what a gateway that asks gets of it.

For every window ``spent + held``, over all gateways and those that are gone, is never more than the limit, unless an
answer took more than was reserved for it. A slice is ``max(1, min(1 s of rate, remaining / (2 * holders)))``, beyond
what the requests take that wait. Who gets nothing while others hold what they do not use is noted, and the others hear
of it with their next reports, so that they give it back. Who is silent for ``LEASE_S`` has lost its places; what it
held within windows stays counted until they end, for it may have been used. Decides; ``gateway/store/quota.py`` keeps
the book.
"""

import msgspec

from cortex.contract.key import KeyLimits, LimitUse
from cortex.fleet.quota import (
    CONCURRENT,
    KIND,
    LEASE_S,
    MeterAnswer,
    MeterReport,
    PlaceAnswer,
    PlaceReport,
    QuotaAnswer,
    QuotaReport,
    bounds,
    window_of,
)

SOON_S = 2.0
"""When to ask again for what others hold and may give back."""
PLACE_RETRY_S = 1.0
WANTED_S = 2.0
"""How long it is noted that somebody waits for what others hold."""


class HeldMeter(msgspec.Struct, omit_defaults=True):
    """What a gateway has used and holds of one limit, in the window that began then."""

    window: int
    spent: int = 0
    held: int = 0


class Holder(msgspec.Struct, omit_defaults=True):
    """One gateway. ``places``: requests that it may have in flight. ``wants``: until when it waits for which limits."""

    number: int = 0
    since: int = 0
    expires_s: float = 0.0
    places: int = 0
    meters: dict[str, HeldMeter] = msgspec.field(default_factory=dict)
    wants: dict[str, float] = msgspec.field(default_factory=dict)


class QuotaBook(msgspec.Struct, omit_defaults=True):
    """What is known of one key. ``closed``: per limit the window, and what those have used in it who are gone."""

    closed: dict[str, HeldMeter] = msgspec.field(default_factory=dict)
    holders: dict[str, Holder] = msgspec.field(default_factory=dict)


def settle(book: QuotaBook, report: QuotaReport, now_s: float) -> QuotaAnswer | None:
    """Take a report into the book, and return the answer; None for one that a newer one has overtaken."""
    for name in [name for name, holder in book.holders.items() if holder.expires_s <= now_s]:
        _close(book, name, now_s)
    known = book.holders.get(report.holder)
    if known is not None and report.number <= known.number:
        return None
    goes_on = known is not None and known.since == report.since
    if known is not None and not goes_on:
        _close(book, report.holder, now_s)
    mine = book.holders.setdefault(report.holder, Holder(since=report.since if goes_on else report.number))
    mine.number, mine.expires_s = report.number, now_s + LEASE_S
    others = [holder for name, holder in book.holders.items() if name != report.holder]
    answer = QuotaAnswer(
        meters={
            name: _meter(book, mine, others, name, said, now_s, goes_on=goes_on)
            for name, said in report.meters.items()
            if name in KIND
        },
        places=None if report.places is None else _places(mine, others, report.places, now_s),
        holders=len(book.holders),
        is_forgotten=not goes_on and report.since != report.number,
    )
    if report.is_leaving:
        _close(book, report.holder, now_s)
    return answer


def use_now(book: QuotaBook, limits: KeyLimits, now_s: float) -> tuple[LimitUse, ...]:
    """Return how each limit of a key stands."""
    found = []
    for name, bound in bounds(limits).items():
        if name == CONCURRENT:
            places = sum(holder.places for holder in book.holders.values() if holder.expires_s > now_s)
            found.append(LimitUse(limit=name, bound=bound, used=0, held=places, resets_in_s=None))
            continue
        window, end = window_of(KIND[name].span, now_s)
        rows = [book.closed.get(name), *(holder.meters.get(name) for holder in book.holders.values())]
        counted = [row for row in rows if row is not None and row.window == window]
        used, held = sum(row.spent for row in counted), sum(row.held for row in counted)
        found.append(LimitUse(limit=name, bound=bound, used=used, held=held, resets_in_s=round(end - now_s, 3)))
    return tuple(found)


def _close(book: QuotaBook, name: str, now_s: float) -> None:
    """Forget a gateway; what it held of windows that are open counts as used."""
    for limit, row in book.holders.pop(name).meters.items():
        _put_away(book, limit, row, now_s)


def _put_away(book: QuotaBook, limit: str, row: HeldMeter, now_s: float) -> None:
    if limit not in KIND or row.window != window_of(KIND[limit].span, now_s)[0]:
        return
    closed = book.closed.get(limit)
    if closed is None or closed.window != row.window:
        closed = book.closed[limit] = HeldMeter(row.window)
    closed.spent += row.spent + row.held


def _meter(
    book: QuotaBook,
    mine: Holder,
    others: list[Holder],
    name: str,
    said: MeterReport,
    now_s: float,
    *,
    goes_on: bool,
) -> MeterAnswer:
    window, end = window_of(KIND[name].span, now_s)
    row = mine.meters.get(name)
    spent = reserved = kept = 0
    if goes_on and row is not None and said.window == row.window == window:
        spent, reserved, kept = said.spent, said.reserved, said.kept
    elif row is not None and row.window in (said.window, said.closed):
        _put_away(book, name, row, now_s)  # the gateway has closed a window that is open here for a moment yet
    # else it never heard of what it was given, and has used nothing of it
    closed = book.closed.get(name)
    taken = closed.spent if closed is not None and closed.window == window else 0
    rows = [held for other in others if (held := other.meters.get(name)) is not None and held.window == window]
    taken += sum(held.spent + held.held for held in rows)
    remaining = max(0, said.limit - taken - spent - reserved - kept)
    extra = _extra(said.need, said.least, said.ahead, kept, remaining, len(others) + 1)
    free = kept + extra
    mine.meters[name] = HeldMeter(window, spent, reserved + free)
    retry_in_s, elsewhere = None, sum(held.held for held in rows)
    is_short = said.need > 0 and free < said.least
    if is_short:
        retry_in_s = end - now_s
        if reserved + elsewhere >= said.least - kept - remaining:
            retry_in_s = min(retry_in_s, SOON_S)
    _note(mine, name, now_s, is_short=is_short and elsewhere >= said.least - kept - remaining)
    return MeterAnswer(
        window=window,
        left_s=end - now_s,
        free=free,
        remaining=remaining - extra,
        retry_in_s=retry_in_s,
        elsewhere=elsewhere,
        is_wanted=_is_wanted(others, name, now_s),
    )


def _places(mine: Holder, others: list[Holder], said: PlaceReport, now_s: float) -> PlaceAnswer:
    remaining = max(0, said.limit - sum(other.places for other in others) - said.in_flight - said.kept)
    extra = _extra(said.need, min(1, said.need), said.ahead, said.kept, remaining, len(others) + 1)
    free = said.kept + extra
    mine.places = said.in_flight + free
    is_short, elsewhere = said.need > 0 and not free, sum(other.places for other in others)
    _note(mine, CONCURRENT, now_s, is_short=is_short and elsewhere > 0)
    return PlaceAnswer(
        free=free,
        remaining=remaining - extra,
        retry_in_s=PLACE_RETRY_S if is_short else None,
        elsewhere=elsewhere,
        is_wanted=_is_wanted(others, CONCURRENT, now_s),
    )


def _note(mine: Holder, name: str, now_s: float, *, is_short: bool) -> None:
    if is_short:
        mine.wants[name] = now_s + WANTED_S
    else:
        mine.wants.pop(name, None)


def _is_wanted(others: list[Holder], name: str, now_s: float) -> bool:
    return any(other.wants.get(name, now_s) > now_s for other in others)


def _extra(need: int, least: int, ahead: int, kept: int, remaining: int, holders: int) -> int:
    """Return how much more a gateway gets than it keeps. Nothing where it would not be enough for anybody."""
    if need and least - kept > remaining:
        return 0
    ahead = max(1, min(ahead, remaining // (2 * holders))) if ahead else 0
    return min(remaining, max(0, need + ahead - kept))
