"""A slice of one limit: what is free, and what an answer from the store makes of it."""

import pytest

from cortex.fleet.quota import KIND, MeterAnswer
from cortex.fleet.quota_meter import SAFE, Meter


def a_meter(free: int = 100, left_s: float = 30.0) -> Meter:
    meter = Meter(KIND["tokens_per_min"], 6000)
    answer(meter, free=free, left_s=left_s)
    return meter


def answer(
    meter: Meter, *, free: int, window: int = 60, left_s: float = 30.0, remaining: int = 1000, **how: bool
) -> None:
    said = meter.report(0, 0, is_ahead=True)
    told = MeterAnswer(window=window, left_s=left_s, free=free, remaining=remaining)
    meter.answered(said, told, 10.0, 10.0, is_forgotten=how.get("is_forgotten", False))


def test_a_window_that_opens_ends_a_little_early() -> None:
    meter = a_meter()
    assert (meter.free, meter.ends_s, meter.resets_s) == (100, 10 + 30 * SAFE, 40.0)


def test_a_window_lasts_from_when_it_was_asked_about_however_late_the_answer_is() -> None:
    meter = Meter(KIND["tokens_per_min"], 6000)
    said = meter.report(0, 0, is_ahead=True)
    told = MeterAnswer(window=60, left_s=30, free=90, remaining=0, retry_in_s=20)
    meter.answered(said, told, 10.0, 14.0, is_forgotten=False)
    assert (meter.ends_s, meter.resets_s, meter.denied_until_s) == (10 + 30 * SAFE, 40.0, 30.0)
    meter.answered(said, told, 50.0, 90.0, is_forgotten=False)
    assert (meter.window, meter.free) == (None, 0), "it is over already"


def test_what_was_taken_while_the_store_was_asked_is_taken() -> None:
    meter = a_meter()
    meter.reserve(30)
    said = meter.report(0, 0, is_ahead=True)
    meter.reserve(50)
    meter.answered(said, MeterAnswer(window=60, left_s=30, free=90, remaining=5), 11.0, 11.0, is_forgotten=False)
    assert meter.free == 40


def test_an_answer_about_a_window_that_was_closed_meanwhile_opens_nothing() -> None:
    meter = a_meter()
    said = meter.report(0, 0, is_ahead=True)
    meter.close()
    meter.answered(said, MeterAnswer(window=60, left_s=5, free=90, remaining=5), 11.0, 11.0, is_forgotten=False)
    assert (meter.window, meter.free) == (None, 0)


def test_counts_that_the_store_has_closed_begin_anew() -> None:
    meter = a_meter()
    meter.reserve(60)
    epoch = meter.epoch
    answer(meter, free=20, is_forgotten=True)
    assert (meter.spent, meter.reserved, meter.free) == (0, 0, 20)
    meter.settle(60, epoch, 10)  # was counted as it was reserved
    assert (meter.spent, meter.free) == (0, 20)


def test_what_an_answer_took_beyond_its_reservation_is_owed_by_the_next_window() -> None:
    meter = a_meter()
    meter.reserve(60)
    epoch = meter.epoch
    meter.close()
    meter.settle(60, epoch, 75)
    answer(meter, free=100, window=120)
    assert (meter.spent, meter.free) == (15, 85)


@pytest.mark.parametrize(("used", "free"), [(0, 100), (25, 75), (60, 40), (70, 30)])
def test_what_was_reserved_is_settled_with_what_was_used(used: int, free: int) -> None:
    meter = a_meter()
    meter.reserve(60)
    assert meter.free == 40
    meter.settle(60, meter.epoch, used)
    assert (meter.free, meter.reserved) == (free, 0)


def test_a_second_ahead_is_the_limits_own_rate_or_what_it_takes() -> None:
    meter = a_meter()
    assert meter.ahead == 100
    meter.reserve(400)
    assert meter.ahead == 800
    meter.reserve(5000)
    assert meter.ahead == 6000


def test_what_is_let_go_of_is_not_used() -> None:
    meter = a_meter()
    meter.reserve(30)
    meter.let_go()
    assert (meter.free, meter.report(0, 0, is_ahead=False).kept) == (0, 0)
