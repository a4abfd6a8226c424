"""What engines count, as they really write it."""

import pytest

from cortex.neuron.harness.interface import Activity
from cortex.neuron.metric_text import activity_reader, sums

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 2.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a {b} c"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="x"} NaN
vllm:generation_tokens_total{engine="0",model_name="x"} 1.5e+01
vllm:generation_tokens_created{engine="0",model_name="x"} 1.7e+09
other_total 3 1700000000000
"""
READ = activity_reader(
    ("vllm:num_requests_running", "vllm:num_requests_waiting"), ("vllm:generation_tokens_total", "other_total")
)


def test_metrics_are_summed_over_their_labels() -> None:
    found = sums(VLLM)
    assert (found["vllm:num_requests_running"], found["vllm:generation_tokens_total"]) == (3, 15)
    assert "vllm:kv_cache_usage_perc" not in found


def test_activity_is_what_the_named_metrics_say_together() -> None:
    assert READ(VLLM) == Activity(in_flight=7, work=18)


def test_only_the_first_in_flight_must_be_there() -> None:
    assert READ("vllm:num_requests_running 1\n") == Activity(in_flight=1, work=0)
    assert READ("vllm:num_requests_waiting 1\nother_total 2\n") is None


def test_what_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        READ("vllm:num_requests_running 1e\n")
