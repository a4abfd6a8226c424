"""Retries stay a tenth of what is asked for, with enough of them for one instance's death."""

import pytest

from cortex.fleet.retry_budget import FLOOR, SHARE, WINDOW_S, RetryBudget


def spent(budget: RetryBudget, now_s: float, model: str = "m") -> int:
    """Retry until that is over."""
    for number in range(100_000):
        if not budget.spend(model, now_s):
            return number
    raise AssertionError("without end")


def asked(budget: RetryBudget, requests: int, now_s: float) -> None:
    for _ in range(requests):
        budget.note_request("m", now_s)


def test_a_lone_request_may_be_retried() -> None:
    budget = RetryBudget()
    budget.note_request("m", 0.0)
    assert budget.spend("m", 0.1)


def test_of_many_requests_a_tenth_may_be_retried_besides_the_floor() -> None:
    budget = RetryBudget()
    asked(budget, 10_000, 0.0)
    assert spent(budget, 1.0) == FLOOR + 1000


def test_a_model_has_a_budget_of_its_own() -> None:
    budget = RetryBudget()
    assert spent(budget, 0.0) == FLOOR
    assert budget.spend("other", 0.0)


def test_what_was_long_ago_allows_nothing_and_forbids_nothing() -> None:
    budget = RetryBudget()
    asked(budget, 1000, 0.0)
    assert spent(budget, 0.0) == FLOOR + 100
    assert spent(budget, WINDOW_S) == 0, "the window before still counts"
    assert spent(budget, 2 * WINDOW_S) == FLOOR, "it is forgotten with its requests"
    assert spent(budget, 100 * WINDOW_S) == FLOOR


@pytest.mark.parametrize("per_s", [1, 50, 1000])
def test_over_any_time_retries_stay_within_their_share(per_s: int) -> None:
    """Every request fails and wants a retry; the floor counts once per window at most."""
    budget, retries, seconds = RetryBudget(), 0, 600
    for second in range(seconds):
        for _ in range(per_s):
            budget.note_request("m", float(second))
            retries += budget.spend("m", float(second))
    assert retries <= SHARE * per_s * seconds + FLOOR * (seconds / WINDOW_S + 1)
