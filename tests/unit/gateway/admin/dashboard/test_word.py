"""Amounts as people read them."""

import pytest

from cortex.gateway.admin.dashboard.word import coarse_span, count, fine_span, memory, moment, percent, span, steady

THIN = "\u202f"


@pytest.mark.parametrize(
    ("amount_mb", "text"), [(None, "–"), (0, "0 MiB"), (812, "812 MiB"), (24_064, "23.5 GiB"), (204_800, "200 GiB")]
)
def test_memory_has_the_unit_that_fits(amount_mb: int | None, text: str) -> None:
    assert memory(amount_mb).replace(THIN, " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.42, "0.4 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert span(seconds).replace(THIN, " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (3, "a moment"), (27, "20 s"), (61, "1 min"), (3599, "59 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_a_coarse_span_stands_still_for_a_while(seconds: float | None, text: str) -> None:
    assert coarse_span(seconds).replace(THIN, " ") == text


def test_numbers_moments_and_shares_are_told_whole() -> None:
    assert count(1_234_567).replace(THIN, " ") == "1 234 567"
    assert percent(0.409).replace(THIN, " ") == "41 %"
    assert moment(0.0) == "1970-01-01T00:00:00Z"
    assert (count(None), percent(None), moment(None)) == ("–", "–", "–")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.0384, "38 ms"), (0.9994, "999 ms"), (2.456, "2.46 s"), (12.4, "12 s")]
)
def test_a_short_span_is_told_closely(seconds: float | None, text: str) -> None:
    assert fine_span(seconds).replace(THIN, " ") == text


@pytest.mark.parametrize("seconds", [0.0, 3.0, 10.0, 19.9, 45.0, 60.0, 119.0, 3599.0, 7300.0, 200_000.0])
def test_what_is_steady_is_told_like_what_it_was_made_of(seconds: float) -> None:
    assert coarse_span(steady(seconds)) == coarse_span(seconds)


def test_nothing_is_steady_of_what_nobody_knows() -> None:
    assert steady(None) is None
