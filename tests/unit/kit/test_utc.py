"""Moments as people write them, in UTC."""

import pytest

from cortex.kit.utc import day_text, parse_moment

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "epoch_s"),
    [
        ("90s", NOW_S - 90),
        ("1.5h", NOW_S - 5400),
        ("7d", NOW_S - 7 * 86400),
        ("2w", NOW_S - 14 * 86400),
        ("2026-11-26", 1_795_651_200.0),
        ("20261126", 1_795_651_200.0),
        ("2026-11-26T08:30:00Z", 1_795_681_800.0),
        ("2026-11-26T08:30:00", 1_795_681_800.0),
        ("2026-11-26T09:30:00+01:00", 1_795_681_800.0),
        ("1795681800.25", 1_795_681_800.25),
        ("0", 0.0),
    ],
)
def test_a_moment_is_read(text: str, epoch_s: float) -> None:
    assert parse_moment(text, NOW_S) == epoch_s


@pytest.mark.parametrize("text", ["", "d", "-7d", "7y", "yesterday", "2026-13-01", "nan", "inf", "1e9", "٣d", "7d "])
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected how long ago"):
        parse_moment(text, NOW_S)


@pytest.mark.parametrize(("day", "text"), [(0, "1970-01-01"), (20783, "2026-11-26"), (-1, "1969-12-31")])
def test_a_day_is_written_as_iso_8601_has_it(day: int, text: str) -> None:
    assert day_text(day) == text
