"""Waits grow, stay bounded and are spread."""

import pytest

from cortex.residency.backoff import Backoff

BACKOFF = Backoff(first_s=1, limit_s=10)


def test_waits_double_up_to_the_limit():
    assert [BACKOFF.delay_s(failures) for failures in range(6)] == [1, 2, 4, 8, 10, 10]


def test_any_number_of_failures_is_bounded():
    assert BACKOFF.delay_s(10**9) == 10


def test_a_factor_of_one_stays():
    assert Backoff(first_s=2, limit_s=10, factor=1).delay_s(10**9) == 2


@pytest.mark.parametrize(("spread", "delay_s"), [(0.0, 4), (0.5, 3), (1.0, 2)])
def test_a_spread_shortens_by_up_to_half(spread, delay_s):
    assert BACKOFF.delay_s(2, spread) == delay_s


def test_a_first_wait_above_the_limit_is_cut():
    assert Backoff(first_s=20, limit_s=10).delay_s(0) == 10
