"""What a mistral.rs server says is read right, in both dialects."""

import json

import pytest
from tests.unit.not_json import ENDLESS, NO_TEXT

from cortex.neuron.harness.interface import Activity
from cortex.neuron.mistralrs.wire import Verdict, activity_in, info_in, listing_in, verdict_of


def a_list(*models: tuple[str, str | None], **more: str) -> bytes:
    data = [{"id": name, "object": "model"} | ({} if status is None else {"status": status}) for name, status in models]
    return json.dumps({"object": "list", "data": [*data, *([{"id": "lora", **more}] if more else [])]}).encode()


def test_the_pseudo_model_and_adapters_are_no_models() -> None:
    listing = listing_in(a_list(("default", None), ("a/b", "loaded"), parent="a/b", status="loaded"))
    assert listing is not None
    assert listing.states == {"a/b": "loaded"}


@pytest.mark.parametrize("turn", [1, -1], ids=["reloading first", "loaded first"])
def test_of_two_states_the_worse_one_counts(turn: int) -> None:
    listing = listing_in(a_list(*[("a", "reloading"), ("a", "loaded"), ("b", "loaded")][::turn]))
    assert listing is not None
    assert listing.states == {"a": "loading", "b": "loaded"}
    assert (listing.mixed, listing.loaded) == ({"a"}, {"a", "b"})


def test_a_reload_that_is_listed_beside_unloaded_is_under_way_and_no_defect() -> None:
    listing = listing_in(a_list(("a", "reloading"), ("a", "unloaded")))
    assert listing is not None
    assert (listing.states, listing.mixed) == ({"a": "loading"}, frozenset())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": [{"name": "x"}]}', NO_TEXT, ENDLESS])
def test_what_is_no_list_is_none(body: bytes) -> None:
    assert listing_in(body) is None


def test_a_model_without_a_state_is_there() -> None:
    listing = listing_in(b'{"data":[{"id":"a"}]}')
    assert listing is not None
    assert listing.states == {"a": "loaded"}


def old(status: str, error: str | None = None) -> bytes:
    return json.dumps({"model_id": "a", "status": status} | ({} if error is None else {"error": error})).encode()


def new(code: str, message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "param": None, "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, old("loaded"), Verdict("done")),
        (200, old("reloading"), Verdict("under_way")),
        (200, old("not_found", "model `a` was not found"), Verdict("unknown", "model `a` was not found")),
        (200, old("no_loader_config", "no loader"), Verdict("not_possible", "no loader")),
        (200, old("internal_error", "CUDA out of memory"), Verdict("failed", "CUDA out of memory")),
        (200, old("unloaded"), Verdict("failed")),
        (200, b"OK", Verdict("failed", "an answer that is none of mistral.rs: OK")),
        (404, new("model_not_found", "no a"), Verdict("unknown", "no a")),
        (409, new("model_state_conflict", "busy"), Verdict("under_way", "busy")),
        (400, new("invalid_model_operation", "no loader"), Verdict("not_possible", "no loader")),
        (500, new("internal_error", "Internal server error."), Verdict("failed")),
        (503, new("service_unavailable", "overloaded"), Verdict("failed", "overloaded")),
        (502, b"bad gateway\n", Verdict("failed", "status 502: bad gateway")),
    ],
    ids=lambda value: value.decode()[:40] if isinstance(value, bytes) else None,
)
def test_how_a_reload_went(status: int, body: bytes, verdict: Verdict) -> None:
    assert verdict_of(status, body, "loaded") == verdict


def test_how_an_unload_went() -> None:
    assert verdict_of(200, old("unloaded"), "unloaded") == Verdict("done")
    assert verdict_of(200, old("not_found"), "unloaded") == Verdict("unknown")


METRICS = """# TYPE http_requests_in_flight gauge
http_requests_in_flight{method="POST",path="/v1/chat/completions",model="a/b"} 2
http_requests_in_flight{model="a/b",method="POST",path="/v1/embeddings"} 1
http_requests_in_flight{method="POST",path="/v1/chat/completions",model="c\\"d"} 5
http_requests_in_flight{method="POST",path="/v1/models/reload",model="idle"} 1
http_requests_in_flight{method="GET",path="/v1/models",model="none"} 1
http_requests_in_flight{method="POST",path="/v1/chat/completions",model="unknown"} 1
# TYPE http_requests_total counter
http_requests_total{method="POST",path="/v1/chat/completions",model="a/b",status="200"} 7
http_requests_total{method="POST",path="/v1/chat/completions",model="a/b",status="500"} 1
http_requests_total{method="POST",path="/v1/models/unload",model="a/b",status="200"} 9
http_requests_total{method="GET",path="/v1/models",model="none",status="200"} 900
mistralrs_sequences_running 3
"""


@pytest.mark.parametrize(
    ("model", "activity"),
    [
        ("a/b", Activity(in_flight=3, work=11)),
        ('c"d', Activity(in_flight=5, work=5)),
        ("idle", Activity(in_flight=0, work=0)),
        (None, Activity(in_flight=8, work=16)),
    ],
    ids=["two paths", "a quoted name", "an idle one", "any"],
)
def test_what_it_does_for_a_model(model: str | None, activity: Activity) -> None:
    assert activity_in(METRICS, model) == activity


def test_a_request_to_the_pseudo_model_may_be_in_any_of_them() -> None:
    text = METRICS + 'http_requests_in_flight{method="POST",path="/v1/chat/completions",model="default"} 1\n'
    assert activity_in(text, "idle") == Activity(in_flight=1, work=1)
    assert activity_in(text, "a/b") == Activity(in_flight=4, work=12)


@pytest.mark.parametrize("text", ["", "# TYPE other gauge\nother 1\n"], ids=["nothing", "other metrics"])
def test_what_counts_no_requests_is_not_quiet(text: str) -> None:
    assert activity_in(text, "a") is None


def test_what_it_says_of_itself() -> None:
    info = info_in(
        b'{"os":"linux","build":{"version":"0.9.5","cuda":true,"cuda_toolkit_version":"13.0","git_revision":"x"},'
        b'"devices":[{"kind":"cuda","ordinal":0,"name":"NVIDIA L40S","total_memory_bytes":48305799168}],'
        b'"hf_cache_path":"/c"}'
    )
    assert info is not None
    assert (info.build.version, info.build.cuda_toolkit_version, info.hf_cache_path) == ("0.9.5", "13.0", "/c")
    assert [(device.kind, device.name) for device in info.devices] == [("cuda", "NVIDIA L40S")]
    assert info_in(b"OK") is None
    assert info_in(ENDLESS) is None


@pytest.mark.parametrize("body", [NO_TEXT, ENDLESS])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_no_json_is_a_failure(status: int, body: bytes) -> None:
    assert verdict_of(status, body, "loaded").outcome == "failed"


def test_what_it_does_not_know_of_its_devices_is_null() -> None:
    info = info_in(
        b'{"build":{"cuda":true},"devices":[{"kind":"cuda","ordinal":0,"name":null,"total_memory_bytes":null}]}'
    )
    assert info is not None
    assert (info.devices[0].name, info.devices[0].total_memory_bytes, info.build.version) == (None, None, "")
