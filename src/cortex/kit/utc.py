"""Days and times of UTC as text. Asks for no time itself."""

import re
from datetime import UTC, datetime

DAY_S = 86400

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", re.ASCII)
_EPOCH = re.compile(r"\d{1,12}(?:\.\d{1,17})?", re.ASCII)

EXPECTED = (
    "expected how long ago (30m, 24h, 7d), a day or time of UTC (2026-11-26, 2026-11-26T08:30:00Z) or epoch seconds"
)


def day_text(day: int) -> str:
    """Return a day since 1970-01-01 as YYYY-MM-DD."""
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def parse_moment(text: str, now_s: float) -> float:
    """Return the epoch seconds of a moment: ``7d`` (ago), a day, a time (UTC unless it says otherwise), or a number.

    Raises: ValueError that says what was expected.
    """
    if ago := _AGO.fullmatch(text):
        return now_s - float(ago[1]) * _UNITS_S[ago[2]]
    if _EPOCH.fullmatch(text) and not _is_short_day(text):
        return float(text)
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None


def _is_short_day(text: str) -> bool:
    """Whether it is rather YYYYMMDD than a second of 1970."""
    return len(text) == 8 and text[:2] in ("19", "20", "21")
