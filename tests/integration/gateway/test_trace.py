"""Requests told in spans: gateway, neuron and a real engine, and a collector that decodes what comes.

| no. | what others got wrong |
|---|---|
| 1 | a trace ends at the gateway, or the load that a request waits for is a trace of its own |
| 2 | a request that was tried twice shows one attempt, or the last one only |
| 3 | a dead collector slows requests down, or fills the log |
"""

import asyncio
import json
import urllib.request
from collections.abc import Iterator

import pytest
from tests.collector import Collector, collector, not_nested, tree_of
from tests.integration.gateway.hostile_engine import Turn, good
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.real_fleet import NEURON_TOML, gateway, neuron
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Counters, staged, until
from tests.port import free_port

from cortex.contract.profile import Profile
from cortex.kit.span_export import SpanExport
from cortex.kit.trace_setting import TraceSection
from cortex.neuron.embedded.tiny_model import write_demo_model

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID, CALLER_ID = CALLER.split("-")[1:3]
TOP = "gateway:POST /v1/chat/completions"
LOAD = f"{TOP} > gateway:load > gateway:load lab/demo > neuron:load"
WHOLE = {
    TOP,
    f"{TOP} > gateway:load",
    f"{TOP} > gateway:load > gateway:load lab/demo",
    LOAD,
    f"{LOAD} > neuron:prepare",
    f"{LOAD} > neuron:start engine",
    f"{LOAD} > neuron:ready",
    f"{TOP} > gateway:chat lab/demo",
    f"{TOP} > gateway:chat lab/demo > gateway:relay",
    f"{TOP} > gateway:chat lab/demo > neuron:relay",
}
"""Of a cold request: every span below its parents."""
SECRET = "xyzzy-of-the-prompt"


@pytest.fixture
def seen() -> Iterator[Collector]:
    with collector() as it:
        yield it


def post(url: str, body: object, headers: dict[str, str]) -> tuple[dict[str, str], str]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return dict(answer.headers), answer.read().decode()


def test_a_cold_streamed_request_is_one_trace_over_gateway_and_neuron(seen: Collector, tmp_path) -> None:
    weights = write_demo_model(tmp_path / "demo.gguf")
    model = Profile(id="lab/demo", harness="llamacpp", source=str(weights), aliases=("demo",))
    toml = NEURON_TOML + f'relay = true\n\n[trace]\nendpoint = "{seen.url}"\n'
    with (
        neuron(tmp_path, toml) as node,
        gateway(node.url, (model,), trace=TraceSection(endpoint=seen.url)) as front,
    ):
        body = {
            "model": "demo",
            "stream": True,
            "max_tokens": 8,
            "messages": [{"role": "user", "content": f"Hello {SECRET}"}],
        }
        headers = {"traceparent": CALLER, "tracestate": "lab=1", "x-request-id": "req-of-mine"}
        told, answer = post(f"{front.url}/v1/chat/completions", body, headers)
        assert told["x-request-id"] == "req-of-mine"
        assert answer.endswith("data: [DONE]\n\n")
        spans = seen.until(lambda spans: set(tree_of(spans, TRACE_ID)) == WHOLE)
        node_log = (tmp_path / "neuron.log").read_text()
    mine = [span for span in spans if span.trace_id == TRACE_ID]
    assert not_nested(mine) == []
    assert all(span.state == "lab=1" and not span.is_error for span in mine)
    by_name = {(span.service, span.name): span for span in mine}
    server = by_name["gateway", "POST /v1/chat/completions"]
    assert (server.parent_id, server.kind) == (CALLER_ID, "server")
    assert (
        server.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "demo",
            "gen_ai.response.model": "lab/demo",
            "gen_ai.usage.output_tokens": 8,
            "server.address": "127.0.0.1",
            "server.port": front.gateway.port,
            "cortex.request_id": "req-of-mine",
            "cortex.cold_start": True,
        }.items()
    )
    assert server.attributes["gen_ai.usage.input_tokens"] > 0
    attempt = by_name["gateway", "chat lab/demo"]
    assert (attempt.kind, attempt.attributes["gen_ai.provider.name"]) == ("client", "llamacpp")
    assert attempt.attributes["server.port"] == int(node.url.rsplit(":", 1)[1])
    assert server.resource["service.instance.id"] == front.gateway.id
    nonce = by_name["neuron", "relay"].attributes["http.route"]
    assert nonce == "/relay/{nonce}/v1/chat/completions"
    assert SECRET.encode() not in seen.raw
    loading = [line for line in node_log.splitlines() if "lab/demo: loading" in line]
    assert loading
    assert all("request_id=req-of-mine" in line and TRACE_ID in line for line in loading), node_log


async def cuts(turn: Turn) -> None:
    await turn.body()
    turn.reset()


def test_a_request_that_was_tried_twice_has_two_attempts(seen: Collector, in_flight_zero: Counters) -> None:
    async def play() -> list[str | None]:
        async with staged(in_flight_zero, cuts, good, nodes=2, trace=TraceSection(endpoint=seen.url)) as it:
            assert (await it.ask(ASK_STREAM)).status == 200
            return [turn.headers.get("traceparent") for turn in it.turns]

    inward = asyncio.run(play())
    spans = seen.until(lambda spans: any(span.kind == "server" for span in spans))
    attempts = sorted((span for span in spans if span.kind == "client"), key=lambda span: span.start_ns)
    assert [span.name for span in attempts] == [f"chat {MODEL}"] * 2
    assert [span.is_error for span in attempts] == [True, False]
    assert "http.request.resend_count" not in attempts[0].attributes
    assert attempts[1].attributes["http.request.resend_count"] == 1
    assert {span.attributes["cortex.node"] for span in attempts} == {"n0", "n1"}
    assert inward == [f"00-{span.trace_id}-{span.span_id}-01" for span in attempts]
    assert len({span.trace_id for span in spans}) == 1
    assert not_nested(spans) == []


def test_whether_a_trace_is_recorded_its_caller_decides(seen: Collector, in_flight_zero: Counters) -> None:
    async def play() -> list[str]:
        async with staged(in_flight_zero, good, trace=TraceSection(endpoint=seen.url, sample_ratio=0)) as it:
            await it.ask(ASK)
            await it.ask(ASK, f"traceparent: {CALLER[:-1]}0")
            await it.ask(ASK, f"traceparent: {CALLER.upper()}")
            await it.ask(ASK, f"traceparent: {CALLER}", "tracestate: bad state")
            return [turn.headers.get("traceparent", "") for turn in it.turns]

    told = asyncio.run(play())
    spans = seen.until(bool)
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert {span.state for span in spans} == {""}
    assert [value[-2:] for value in told] == ["00", "00", "00", "01"], "engines are told what was decided"
    assert [TRACE_ID in value for value in told] == [False, True, False, True]
    assert not any(CALLER_ID in value for value in told), "what engines do is below the attempt"


def test_a_request_that_never_became_a_call_has_its_span(seen: Collector, in_flight_zero: Counters) -> None:
    async def play() -> None:
        async with staged(in_flight_zero, good, trace=TraceSection(endpoint=seen.url)) as it:
            assert (await it.ask(b"{", f"traceparent: {CALLER}")).status == 400
            assert (await it.ask({**ASK, "model": "nobody"}, f"traceparent: {CALLER}")).status == 404

    asyncio.run(play())
    spans = seen.until(lambda spans: len(spans) == 2)
    assert {(span.kind, span.parent_id, span.is_error) for span in spans} == {("server", CALLER_ID, False)}
    assert [span.attributes["http.response.status_code"] for span in spans] == [400, 404]


def test_a_dead_collector_costs_spans_which_are_counted_and_nothing_else(in_flight_zero: Counters, caplog) -> None:
    caplog.set_level("WARNING")

    async def play() -> SpanExport:
        trace = TraceSection(endpoint=f"http://127.0.0.1:{free_port()}")
        async with staged(in_flight_zero, good, trace=trace) as it:
            tracer = it.gateway._tracing.tracer
            assert tracer is not None
            tracer._export._max_waiting = 60
            for _ in range(60):
                assert (await it.ask(ASK)).status == 200
            await until(lambda: tracer.dropped > 0)
            assert await it.metric("cortex_spans_dropped_total") > 0
            assert await it.metric("cortex_spans_sent_total") == 0
        return tracer._export

    export = asyncio.run(play())
    assert (export.sent, export.dropped) == (0, 60 * 3), "in the end all of them are"
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith(
        "spans are lost, and counted, until the collector takes them: http://127.0.0.1:"
    )
