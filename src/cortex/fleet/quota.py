"""The limits of a key as gateways count them together: which there are, their windows, and what is said of them.

A gateway reports how it stands with one key, the store answers what the gateway may use without asking again. Whatever
is counted is said as it stands, never as a change, so that a report or an answer that is lost, late or doubled counts
nothing twice. Both halves are pure: ``quota_book`` is the store's, ``quota_holding`` the gateway's. Times of the store
are UTC epoch seconds by its own clock; gateways are told durations only.
"""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from cortex.contract.key import KeyLimits

Unit = Literal["requests", "tokens", "cold_starts"]
Span = Literal["minute", "day", "month"]

LEASE_S = 15.0
"""How long the store believes in a gateway that says nothing more: then its places are given to others."""
RENEW_S = LEASE_S / 3
CONCURRENT = "concurrent_requests"
"""The one limit that is no count within a window."""

SPAN_S: dict[Span, float] = {"minute": 60.0, "day": 86400.0, "month": 31 * 86400.0}
"""The longest that a window can be."""


class Kind(msgspec.Struct, frozen=True):
    """What one limit of a key counts, and within what."""

    name: str
    unit: Unit
    span: Span

    @property
    def per_s(self) -> float:
        """The share of a limit that a second of its window has."""
        return 1 / SPAN_S[self.span]


KINDS = (
    Kind("requests_per_min", "requests", "minute"),
    Kind("tokens_per_min", "tokens", "minute"),
    Kind("tokens_per_day", "tokens", "day"),
    Kind("tokens_per_month", "tokens", "month"),
    Kind("cold_starts_per_day", "cold_starts", "day"),
)
"""By the names of ``KeyLimits``, in the order in which they are looked at."""
KIND = {kind.name: kind for kind in KINDS}


def bounds(limits: KeyLimits) -> dict[str, int]:
    """Return what bounds a key, by the limit's name; ``CONCURRENT`` among them."""
    found = {name: getattr(limits, name) for name in (*KIND, CONCURRENT)}
    return {name: bound for name, bound in found.items() if bound is not None}


def window_of(span: Span, epoch_s: float) -> tuple[int, int]:
    """Return when the window of a moment begins and ends: a minute, a day or a month of UTC."""
    length = 60 if span == "minute" else 86400
    begin = int(epoch_s) // length * length
    if span != "month":
        return begin, begin + length
    first = datetime.fromtimestamp(begin, UTC).replace(day=1)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(first.timestamp()), int(after.timestamp())


class MeterReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a gateway stands with one limit. ``window``: its beginning, None where it knows of none that is open.
    ``closed``: the last one that it has used and closed itself.

    ``kept``: what it goes on holding besides what is reserved. ``need``: what the requests that wait take together, and
    ``least`` the smallest of them; ``ahead``: what it would like to hold beyond that.
    """

    limit: int
    window: int | None
    closed: int | None = None
    spent: int
    reserved: int
    kept: int
    need: int = 0
    least: int = 0
    ahead: int = 0


class PlaceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Likewise for the requests that run at the same time."""

    limit: int
    in_flight: int
    kept: int
    need: int = 0
    ahead: int = 0


class QuotaReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a gateway stands with one key. ``number`` grows with every report of the gateway.

    ``since``: the number of the report from which on ``spent`` and ``reserved`` count; its own in a first one.
    """

    key_id: str
    holder: str
    number: int
    since: int
    meters: dict[str, MeterReport]
    places: PlaceReport | None = None
    is_leaving: bool = False


class MeterAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway holds of one limit from now on: ``free`` beyond what it reported as spent and reserved.

    ``remaining``: what nobody holds. ``retry_in_s``: not even ``least`` was there; when it may be. ``elsewhere``: what
    others hold, reserved or not, as far as they have said. ``is_wanted``: somebody waits for what is not used here.
    """

    window: int
    left_s: float
    free: int
    remaining: int
    retry_in_s: float | None = None
    elsewhere: int = 0
    is_wanted: bool = False


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Likewise: ``free`` beyond the requests that were in flight, ``elsewhere`` are all places of others."""

    free: int
    remaining: int
    retry_in_s: float | None = None
    elsewhere: int = 0
    is_wanted: bool = False


class QuotaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says to a report. ``holders``: gateways that hold something of the key, the asking one included.

    ``is_forgotten``: the gateway's counts were closed before, with all that it held, and begin anew with this report.
    """

    meters: dict[str, MeterAnswer]
    places: PlaceAnswer | None
    holders: int
    is_forgotten: bool = False
