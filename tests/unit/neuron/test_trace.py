"""Loads and relays of a neuron in spans: below what they are done for, whole, and without a secret."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.kit.test_tracer import Kept, a_tracer
from tests.unit.neuron.fake_node import CRASH, MODEL
from tests.unit.neuron.test_api import LOAD, Desk, at_desk

from cortex.contract.error import UpstreamBroken
from cortex.kit.cause import NOTHING, Cause, cause_of_now, working_for
from cortex.kit.span import Span
from cortex.kit.trace_context import TraceContext
from cortex.neuron.trace import cause_in, traced_relay

PARENT = TraceContext(7, 8, True, b"lab=1")
CALLER = {"traceparent": PARENT.traceparent.decode(), "tracestate": "lab=1", "x-request-id": "req-1"}


def traced(desk: Desk, ratio: float = 1.0) -> Kept:
    kept = Kept()
    desk.api._tracer = a_tracer(kept, ratio, desk.node.clock)  # type: ignore[arg-type]
    return kept


def by_name(kept: Kept) -> dict[str, Span]:
    spans = kept.spans()
    named = {span.name: span for span in spans}
    assert len(named) == len(spans)
    return named


def test_a_load_is_a_span_below_its_callers_and_has_its_parts(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        kept = traced(desk)
        assert (await desk.ask("POST", "/models/load", LOAD, headers=CALLER)).status == 200
        assert "load" not in by_name(kept), "it is not over when its call is answered"
        await desk.node.until(MODEL, "loaded")
        named = by_name(kept)
        assert set(named) == {"prepare", "start engine", "ready", "load"}
        load = named["load"]
        assert (load.kind, load.parent, load.error) == ("server", PARENT, "")
        assert load.attributes == {"cortex.model": MODEL, "cortex.harness": "fake", "cortex.generation": 1}
        assert all(span.parent == load.context for name, span in named.items() if name != "load")
        assert all(span.context.state == b"lab=1" for span in named.values())

    at_desk(tmp_path, scenario)


def test_a_load_that_joins_another_one_says_so(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        kept = traced(desk)
        assert (await desk.ask("POST", "/models/load", LOAD, headers=CALLER)).status == 200
        (load,) = kept.spans()
        assert (load.name, load.attributes["cortex.joined"], load.error) == ("load", True, "")

    at_desk(tmp_path, scenario)


def test_a_load_that_is_refused_says_why(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        kept = traced(desk)
        assert (await desk.ask("POST", "/models/load", {**LOAD, "vram_mb": 9000}, headers=CALLER)).status >= 400
        *_, load = kept.spans()
        assert (load.name, load.error) == ("load", "no_room")

    at_desk(tmp_path, scenario)


def test_a_load_that_fails_says_with_what(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        kept = traced(desk)
        desk.node.harness.starts = [CRASH]
        await desk.ask("POST", "/models/load", LOAD, headers=CALLER)
        await desk.node.until(MODEL, "failed")
        assert CRASH.error is not None
        assert by_name(kept)["load"].error == CRASH.error.code

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(("ratio", "is_told"), [(1.0, True), (0.0, False)])
def test_of_loads_that_nobody_traces_the_share_is_told_that_is_wished(
    tmp_path: Path, ratio: float, is_told: bool
) -> None:
    async def scenario(desk: Desk) -> None:
        kept = traced(desk, ratio)
        await desk.loaded()
        assert bool(kept.sources) is is_told
        if is_told:
            assert by_name(kept)["load"].parent is None

    at_desk(tmp_path, scenario)


def test_what_happens_to_a_model_later_is_not_for_who_had_it_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[tuple[str, Cause]] = []

    async def scenario(desk: Desk) -> None:
        caplog.handler.addFilter(lambda record: said.append((record.getMessage(), cause_of_now())) or True)
        with caplog.at_level("INFO", logger="cortex"):
            await desk.ask("POST", "/models/load", LOAD, headers=CALLER)
            await desk.node.until(MODEL, "loaded")
            await desk.ask("POST", "/models/unload", {"model_id": MODEL, "wait": False})
            await desk.node.until(MODEL, "unloaded")

    at_desk(tmp_path, scenario)
    causes = {message: cause.request_id for message, cause in said}
    assert causes[f"{MODEL}: loading -> loaded"] == "req-1"
    assert causes[next(message for message in causes if "loading on devices" in message)] == "req-1"
    assert causes[f"{MODEL}: draining -> unloading"] == ""


def relayed(kept: Kept, cause: Cause, fails: bool = False) -> list[tuple[bytes, bytes]]:
    """Relay one request; return the headers with which it goes on."""
    headers = [(b"traceparent", b"x"), (b"tracestate", b"y"), (b"accept", b"z")]
    scope = {"path": "/relay/n0nce/v1/chat/completions", "method": "POST", "headers": headers}

    async def one() -> None:
        with working_for(cause), traced_relay(a_tracer(kept), scope):
            if fails:
                raise UpstreamBroken

    if fails:
        with pytest.raises(UpstreamBroken):
            asyncio.run(one())
    else:
        asyncio.run(one())
    return scope["headers"]  # type: ignore[return-value]


def test_a_relay_is_a_span_and_what_the_engine_does_goes_below_it() -> None:
    kept = Kept()
    headers = relayed(kept, Cause("req-1", PARENT))
    (span,) = kept.spans()
    assert (span.name, span.kind, span.parent, span.error) == ("relay", "server", PARENT, "")
    assert span.attributes == {"http.request.method": "POST", "http.route": "/relay/{nonce}/v1/chat/completions"}
    assert headers == [(b"accept", b"z"), (b"traceparent", span.context.traceparent), (b"tracestate", b"lab=1")]


def test_a_relay_that_fails_says_how() -> None:
    kept = Kept()
    relayed(kept, Cause("req-1", PARENT), fails=True)
    assert [span.error for span in kept.spans()] == ["upstream_broken"]


@pytest.mark.parametrize("cause", [NOTHING, Cause("req-1", TraceContext(7, 8, False))], ids=["nobody", "not recorded"])
def test_a_relay_that_its_caller_does_not_record_is_left_as_it_is(cause: Cause) -> None:
    kept = Kept()
    assert relayed(kept, cause)[0] == (b"traceparent", b"x")
    assert kept.sources == []


def test_what_a_call_is_for_stands_in_its_headers() -> None:
    given = [(name.encode(), value.encode()) for name, value in CALLER.items()]
    assert cause_in(given) == Cause("req-1", PARENT)
    assert cause_in([(b"x-request-id", b"a b"), (b"traceparent", b"bad")]) == NOTHING
