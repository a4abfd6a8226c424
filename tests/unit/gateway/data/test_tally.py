"""What requests come to, by model, until it is taken away."""

import pytest
from tests.unit.gateway.data.test_metric import UNKNOWN, a_record

from cortex.gateway.data.tally import MAX_MODELS, Traffic


def test_requests_tokens_and_times_add_up_by_model() -> None:
    traffic = Traffic()
    traffic.record(a_record(cold_start=True))
    traffic.record(a_record(prompt_tokens=None, completion_tokens=5, time_to_first_token_ms=None))
    traffic.record(a_record(model="org/n", request_overhead_ms=1.5, response_overhead_ms=0.5))
    taken = traffic.take()
    one, other = taken["org/m"], taken["org/n"]
    assert (one.requests, one.cold_starts, one.prompt_tokens, one.completion_tokens) == (2, 1, 10, 25)
    assert one.first_token.count == 1
    assert one.first_token.quantile(0.5) == pytest.approx(0.15, rel=0.05)
    assert one.overhead.count == 0
    assert other.overhead.quantile(0.5) == pytest.approx(0.002, rel=0.05)
    assert traffic.take() == {}


@pytest.mark.parametrize(
    ("keys", "errors"),
    [
        ({"outcome": "failed", "status": 200, "error": "upstream_broken"}, 1),
        ({"outcome": "refused", "status": 503, "error": "no_capacity"}, 1),
        ({"outcome": "engine_error", "status": 500}, 1),
        ({"outcome": "engine_error", "status": 400}, 0),
        ({"outcome": "refused", "status": 429}, 0),
        ({"outcome": "client_gone", "status": 0}, 0),
        ({"outcome": "client_gone", "status": 503}, 0),
        ({}, 0),
    ],
)
def test_an_error_is_what_failed_by_no_fault_of_the_caller(keys: dict[str, object], errors: int) -> None:
    traffic = Traffic()
    traffic.record(a_record(**keys))
    assert traffic.take()["org/m"].errors == errors


def test_what_named_no_known_model_is_no_models() -> None:
    traffic = Traffic()
    traffic.record(a_record(**UNKNOWN))
    assert traffic.take()[""].requests == 1


def test_models_are_bounded() -> None:
    traffic = Traffic()
    for number in range(MAX_MODELS + 10):
        traffic.record(a_record(model=f"m{number}"))
    taken = traffic.take()
    assert len(taken) == MAX_MODELS + 1
    assert taken[""].requests == 10
