"""What a scrape shows of the requests that were counted: names, labels, values."""

from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from cortex.gateway.data.metric import RequestMetrics, gauge
from cortex.gateway.data.record import RequestRecord

A_RECORD = RequestRecord(
    request_id="r",
    path="chat",
    model="org/m",
    node="beast",
    status=200,
    outcome="ok",
    is_stream=True,
    attempts=1,
    cold_start=False,
    prompt_tokens=10,
    completion_tokens=20,
    total_tokens=30,
    tok_per_sec=40.0,
    time_to_first_token_ms=150.0,
    total_latency_ms=650.0,
    error=None,
    peer="10.0.0.9",
    started_s=0.0,
)
UNKNOWN: dict[str, Any] = {
    "model": "",
    "node": "",
    "status": 404,
    "outcome": "refused",
    "error": "model_not_found",
    "prompt_tokens": None,
    "completion_tokens": None,
    "tok_per_sec": None,
    "time_to_first_token_ms": None,
}


def a_record(**keys: Any) -> RequestRecord:
    return msgspec.structs.replace(A_RECORD, **keys)


def scraped(*records: RequestRecord) -> dict[tuple[str, ...], float]:
    """Count records, and return every sample as (name, values of labels in order of their names) → value."""
    metrics = RequestMetrics()
    for record in records:
        metrics.record(record)
    registry = CollectorRegistry()
    registry.register(metrics)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parse(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_a_request_is_counted_by_model_and_node() -> None:
    found = scraped(a_record(), a_record(), a_record(node="benjy"))
    assert found["cortex_requests_total", "org/m", "beast"] == 2
    assert found["cortex_requests_total", "org/m", "benjy"] == 1
    assert found["cortex_prompt_tokens_total", "org/m", "beast"] == 20
    assert found["cortex_completion_tokens_total", "org/m", "beast"] == 40
    assert found["cortex_request_errors_total", "org/m", "beast"] == 0
    assert found["cortex_cold_starts_total", "org/m", "beast"] == 0


def test_an_attempt_that_failed_before_counts_where_it_failed() -> None:
    found = scraped(a_record(attempts=2, lost=(("benjy", "upstream_broken"),)))
    assert found["cortex_requests_total", "org/m", "beast"] == 1
    assert found["cortex_request_errors_total", "org/m", "beast"] == 0
    assert found["cortex_requests_total", "org/m", "benjy"] == 1
    assert found["cortex_request_errors_total", "org/m", "benjy"] == 1
    assert ("cortex_request_duration_seconds_count", "org/m", "benjy") not in found


LABELS_OF_OTHERS = {
    "cortex_relayed_bytes_total": {"model", "node", "direction"},
    "cortex_stream_aborts_total": {"model", "node", "by"},
}


def test_our_own_metrics_have_the_labels_model_and_node() -> None:
    metrics = RequestMetrics()
    metrics.record(a_record())
    registry = CollectorRegistry()
    registry.register(metrics)
    names = set()
    for family in parse(generate_latest(registry).decode()):
        for sample in family.samples:
            if sample.name.startswith("cortex_"):
                names.add(sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count"))
                wanted = LABELS_OF_OTHERS.get(sample.name, {"model", "node"})
                assert set(sample.labels) - {"le"} == wanted, sample.name
    assert names == {
        "cortex_requests_total",
        "cortex_request_errors_total",
        "cortex_cold_starts_total",
        "cortex_prompt_tokens_total",
        "cortex_completion_tokens_total",
        "cortex_request_duration_seconds",
        "cortex_time_to_first_token_seconds",
        "cortex_tokens_per_second",
        *LABELS_OF_OTHERS,
    }


def test_a_model_that_nobody_knows_and_a_request_that_reached_no_node_have_names_too() -> None:
    found = scraped(a_record(**UNKNOWN))
    assert found["cortex_requests_total", "unknown", ""] == 1
    assert found["cortex_request_errors_total", "unknown", ""] == 0
    assert found["cortex_prompt_tokens_total", "unknown", ""] == 0
    assert ("cortex_request_duration_seconds_count", "unknown", "") not in found


@pytest.mark.parametrize(
    ("keys", "is_error"),
    [
        ({"outcome": "failed", "status": 502, "error": "upstream_broken"}, True),
        ({"outcome": "failed", "status": 200, "error": "upstream_broken"}, True),
        ({"outcome": "refused", "status": 503, "error": "load_failed"}, True),
        ({"outcome": "refused", "status": 404, "error": "model_not_found"}, False),
        ({"outcome": "refused", "status": 413, "error": "body_too_large"}, False),
        ({"outcome": "engine_error", "status": 400, "error": None}, False),
        ({"outcome": "engine_error", "status": 500, "error": None}, True),
        ({"outcome": "client_gone", "status": 200, "error": None}, False),
        ({"outcome": "client_gone", "status": 0, "error": None}, False),
        ({"outcome": "ok", "status": 200, "error": None}, False),
    ],
)
def test_an_error_is_what_was_no_fault_of_the_caller(keys: dict[str, Any], is_error: bool) -> None:
    found = scraped(a_record(**keys))
    assert found["cortex_requests_total", "org/m", "beast"] == 1
    assert found["cortex_request_errors_total", "org/m", "beast"] == int(is_error)


def test_durations_are_those_of_successful_requests() -> None:
    others = [a_record(outcome=outcome) for outcome in ("failed", "refused", "engine_error", "client_gone")]
    found = scraped(a_record(), *others)
    assert found["cortex_request_duration_seconds_count", "org/m", "beast"] == 1
    assert found["cortex_request_duration_seconds_sum", "org/m", "beast"] == pytest.approx(0.65)
    assert found["cortex_request_duration_seconds_bucket", "0.64", "org/m", "beast"] == 0
    assert found["cortex_request_duration_seconds_bucket", "1.28", "org/m", "beast"] == 1


def test_the_buckets_reach_as_far_as_a_cold_start_takes() -> None:
    found = scraped(a_record(cold_start=True, total_latency_ms=900_000.0, time_to_first_token_ms=250_000.0))
    assert found["cortex_request_duration_seconds_bucket", "1310.72", "org/m", "beast"] == 1
    assert found["cortex_time_to_first_token_seconds_bucket", "300.0", "org/m", "beast"] == 1
    assert found["cortex_cold_starts_total", "org/m", "beast"] == 1


def test_times_and_speeds_are_in_seconds_and_tokens() -> None:
    found = scraped(a_record())
    assert found["cortex_time_to_first_token_seconds_sum", "org/m", "beast"] == pytest.approx(0.15)
    assert found["cortex_tokens_per_second_sum", "org/m", "beast"] == 40


def test_what_an_engine_did_not_tell_is_not_counted() -> None:
    nothing = {"prompt_tokens": None, "completion_tokens": None, "tok_per_sec": None, "time_to_first_token_ms": None}
    found = scraped(a_record(**nothing))
    assert found["cortex_completion_tokens_total", "org/m", "beast"] == 0
    names = {key[0] for key in found}
    assert "cortex_tokens_per_second_count" not in names
    assert "cortex_time_to_first_token_seconds_count" not in names
    assert not any(name.startswith("gen_ai_client_token_usage") for name in names)


def test_the_names_of_opentelemetry_are_there_with_its_labels() -> None:
    found = scraped(a_record(), a_record(outcome="failed", status=502, error="upstream_broken"))
    kind = ("chat", "cortex", "org/m")
    assert found["gen_ai_server_request_duration_seconds_count", "", *kind] == 1
    assert found["gen_ai_server_request_duration_seconds_count", "upstream_broken", *kind] == 1
    assert found["gen_ai_server_time_to_first_token_seconds_count", "", *kind] == 1
    assert found["gen_ai_server_time_per_output_token_seconds_sum", "", *kind] == pytest.approx(1 / 40)
    assert found["gen_ai_client_token_usage_sum", *kind, "input"] == 20
    assert found["gen_ai_client_token_usage_sum", *kind, "output"] == 40


def test_an_unstreamed_answer_has_no_gaps_between_tokens() -> None:
    found = scraped(a_record(is_stream=False))
    assert ("cortex_tokens_per_second_count", "org/m", "beast") in found
    assert not any(key[0].startswith("gen_ai_server_time_per_output_token") for key in found)


@pytest.mark.parametrize("outcome", ["engine_error", "client_gone"])
def test_an_outcome_without_an_error_of_ours_is_told_apart_by_its_own_name(outcome: str) -> None:
    found = scraped(a_record(outcome=outcome, status=400))
    assert found["gen_ai_server_request_duration_seconds_count", outcome, "chat", "cortex", "org/m"] == 1


def test_what_the_gateway_itself_took_is_told_for_both_halves() -> None:
    found = scraped(
        a_record(request_overhead_ms=0.2, response_overhead_ms=3.0),
        a_record(request_overhead_ms=0.3, response_overhead_ms=None),
    )
    assert found["cortex_gateway_overhead_seconds_count", "request"] == 2
    assert found["cortex_gateway_overhead_seconds_sum", "request"] == pytest.approx(0.0005)
    assert found["cortex_gateway_overhead_seconds_bucket", "request", "0.00025"] == 1
    assert found["cortex_gateway_overhead_seconds_count", "response"] == 1
    assert found["cortex_gateway_overhead_seconds_sum", "response"] == pytest.approx(0.003)


def test_the_bytes_of_both_bodies_are_counted() -> None:
    found = scraped(a_record(request_bytes=100, response_bytes=3000), a_record(request_bytes=50, outcome="failed"))
    assert found["cortex_relayed_bytes_total", "request", "org/m", "beast"] == 150
    assert found["cortex_relayed_bytes_total", "response", "org/m", "beast"] == 3000


@pytest.mark.parametrize(
    ("outcome", "first_ms", "by"),
    [
        ("client_gone", 150.0, "client"),
        ("failed", 150.0, "engine"),
        ("ok", 150.0, None),
        ("client_gone", None, None),
        ("failed", None, None),
    ],
)
def test_a_stream_that_breaks_off_after_its_first_content_is_an_abort(
    outcome: str, first_ms: float | None, by: str | None
) -> None:
    found = scraped(a_record(outcome=outcome, time_to_first_token_ms=first_ms))
    for side in ("client", "engine"):
        assert found["cortex_stream_aborts_total", side, "org/m", "beast"] == int(side == by)


def test_requests_with_a_key_are_counted_by_it_and_others_are_not() -> None:
    found = scraped(a_record(key="agents"), a_record(key="agents"), a_record())
    assert found["cortex_key_requests_total", "agents"] == 2
    assert found["cortex_key_tokens_total", "agents", "prompt"] == 20
    assert found["cortex_key_tokens_total", "agents", "completion"] == 40
    assert [key for key in found if key[0] == "cortex_key_requests_total"] == [("cortex_key_requests_total", "agents")]


def test_odd_names_are_escaped() -> None:
    found = scraped(a_record(model='a"b\\c\nd'))
    assert found["cortex_requests_total", 'a"b\\c\nd', "beast"] == 1


def test_gauges_of_others_are_shown_beside_them_and_asked_at_every_scrape() -> None:
    values = [3.0, 5.0]
    metrics = RequestMetrics(lambda: [gauge("cortex_x", "X.", ("model",), [(("m",), values.pop(0))])])
    registry = CollectorRegistry()
    registry.register(metrics)
    assert values == [3.0, 5.0]
    for value in (3.0, 5.0):
        (family,) = [one for one in parse(generate_latest(registry).decode()) if one.name == "cortex_x"]
        (sample,) = family.samples
        assert (family.type, sample.labels, sample.value) == ("gauge", {"model": "m"}, value)


def test_openmetrics_reads_it_too() -> None:
    metrics = RequestMetrics()
    metrics.record(a_record())
    metrics.record(a_record(**UNKNOWN))
    registry = CollectorRegistry()
    registry.register(metrics)
    families = {family.name: family for family in parse_openmetrics(generate_openmetrics(registry).decode())}
    assert families["cortex_requests"].type == "counter"
    assert families["cortex_request_duration_seconds"].type == "histogram"


def test_nothing_is_shown_of_no_requests() -> None:
    assert scraped() == {}
