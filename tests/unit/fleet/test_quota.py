"""Windows of UTC, and what bounds a key."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex.contract.key import KeyLimits
from cortex.fleet.quota import KINDS, SPAN_S, Span, bounds, window_of


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("span", "moment", "begin", "end"),
    [
        ("minute", at(2026, 11, 26, 13, 45, 59), at(2026, 11, 26, 13, 45), at(2026, 11, 26, 13, 46)),
        ("day", at(2026, 11, 26), at(2026, 11, 26), at(2026, 11, 27)),
        ("month", at(2026, 11, 26, 13), at(2026, 11, 1), at(2026, 12, 1)),
        ("month", at(2026, 12, 31, 23, 59, 59), at(2026, 12, 1), at(2027, 1, 1)),
        ("month", at(2028, 2, 29), at(2028, 2, 1), at(2028, 3, 1)),
    ],
)
def test_a_moment_has_its_window(span: Span, moment: float, begin: float, end: float) -> None:
    assert window_of(span, moment) == (begin, end)


@given(st.floats(0, 4e9), st.sampled_from([kind.span for kind in KINDS]))
def test_windows_follow_each_other_without_a_gap(moment: float, span: Span) -> None:
    begin, end = window_of(span, moment)
    assert begin <= moment < end
    assert end - begin <= SPAN_S[span]
    assert window_of(span, end)[0] == end
    assert window_of(span, begin - 1)[1] == begin


def test_only_limits_that_are_set_bound_a_key() -> None:
    assert bounds(KeyLimits()) == {}
    limits = KeyLimits(requests_per_min=0, concurrent_requests=2, tokens_per_month=5)
    assert bounds(limits) == {"requests_per_min": 0, "concurrent_requests": 2, "tokens_per_month": 5}
