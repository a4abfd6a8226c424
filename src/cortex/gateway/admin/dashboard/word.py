"""Amounts as people read them. Pure; what nobody knows is a dash."""

from datetime import UTC, datetime

UNKNOWN = "–"
THIN = "\u202f"
"""A narrow space that does not break, between a number and its unit."""


def memory(amount_mb: float | None) -> str:
    """Return MiB in the unit that fits: ``812 MiB``, ``23.5 GiB``."""
    if amount_mb is None:
        return UNKNOWN
    if abs(amount_mb) < 1024:
        return f"{amount_mb:.0f}{THIN}MiB"
    gib = amount_mb / 1024
    return f"{gib:.0f}{THIN}GiB" if gib >= 100 else f"{gib:.1f}{THIN}GiB"


def span(seconds: float | None) -> str:
    """Return a duration: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    for unit, size, smaller, part in (("min", 60, "s", 1), ("h", 3600, "min", 60), ("d", 86400, "h", 3600)):
        if whole < size * (60 if size < 3600 else 24 if size < 86400 else 10**9):
            rest = whole % size // part
            return f"{whole // size}{THIN}{unit}" + (f" {rest}{THIN}{smaller}" if rest else "")
    return UNKNOWN


def fine_span(seconds: float | None) -> str:
    """Return a duration of requests, closely while it is short: ``38 ms``, ``2.46 s``, ``12 s``."""
    if seconds is None or seconds >= 10:
        return span(seconds)
    return f"{seconds * 1000:.0f}{THIN}ms" if seconds < 1 else f"{seconds:.2f}{THIN}s"


def coarse_span(seconds: float | None) -> str:
    """Return a duration that does not tick: by ten seconds, then by the minute, the hour, the day."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return "a moment"
    for size, step, unit in ((60, 10, "s"), (3600, 60, "min"), (172800, 3600, "h")):
        if seconds < size:
            return f"{int(seconds // step) * (step if unit == 's' else 1)}{THIN}{unit}"
    return f"{int(seconds // 86400)}{THIN}d"


def steady(seconds: float | None) -> float | None:
    """Return a duration that is equal as long as ``coarse_span`` tells it alike."""
    if seconds is None or seconds < 10:
        return seconds if seconds is None else 0.0
    return seconds // 10 * 10 if seconds < 60 else seconds // 60 * 60


def percent(share: float | None) -> str:
    """Return 0 to 1 as percent."""
    return UNKNOWN if share is None else f"{share * 100:.0f}{THIN}%"


def count(number: float | None) -> str:
    """Return a number in groups of three digits: ``1 234 567``."""
    return UNKNOWN if number is None else f"{number:,.0f}".replace(",", THIN)


def moment(epoch_s: float | None) -> str:
    """Return a moment in UTC, as ``<time datetime>`` has it; the browser shows it in the reader's own time zone."""
    if epoch_s is None:
        return UNKNOWN
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
