"""What happened to one request, told in spans: how long it waited, where it was tried, when the answer began."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.hand_loop import START_S
from tests.unit.gateway.data.rig import DONE, EPOCH_S, SSE_HEAD, Rig, Transport, chunked, rig, token, usage, whole
from tests.unit.kit.test_tracer import Kept, a_tracer

from cortex.contract.error import NoHealthyNode
from cortex.kit.span import Span

BODY = b'{"model":"m","messages":[{"role":"user","content":"a secret"}]}'
STREAMED = b'{"model":"m","stream":true}'
REPLY = b'{"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
CALLER = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        one.plane.tracer = a_tracer(Kept())
        yield one


def told(it: Rig) -> list[Span]:
    """Return the spans of the only request; their number was known before."""
    tracer = it.plane.tracer
    assert tracer is not None
    kept = tracer._export
    assert isinstance(kept, Kept)
    (source,) = kept.sources
    spans = source.spans()
    assert source.span_count() == len(spans)
    by_id = {span.context.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    for span in spans:
        assert span.start_s <= span.end_s
        if span.parent is not None and span.parent.span_id in by_id:
            within = by_id[span.parent.span_id]
            assert within.start_s <= span.start_s, span.name
            assert span.end_s <= within.end_s, span.name
    return spans


def moments(span: Span) -> tuple[float, float]:
    """Return when a span began and ended, in seconds since the rig's start."""
    return round(span.start_s - EPOCH_S, 3), round(span.end_s - EPOCH_S, 3)


def test_a_request_that_finds_a_place_has_its_attempt_and_nothing_else(it: Rig) -> None:
    it.leases.next(it.place(url="http://gpu:81/i/n0nce", kind="llamacpp"))
    it.post(BODY)
    engine = it.upstream.accept()
    it.loop.advance(2)
    engine.say(whole(REPLY))
    server, attempt, relay = told(it)
    assert (server.name, server.kind, server.parent) == ("POST /v1/chat/completions", "server", None)
    assert (attempt.name, attempt.kind, attempt.parent) == ("chat m", "client", server.context)
    assert (relay.name, relay.parent) == ("relay", attempt.context)
    assert [moments(span) for span in (server, attempt, relay)] == [(0, 2), (0, 2), (2, 2)]
    assert attempt.attributes["gen_ai.provider.name"] == "llamacpp"
    assert (attempt.attributes["server.address"], attempt.attributes["server.port"]) == ("gpu", 81)
    assert server.attributes["server.address"] == "gateway"
    assert server.attributes["gen_ai.usage.input_tokens"] == 3
    assert server.attributes["gen_ai.usage.output_tokens"] == 4
    assert server.error == attempt.error == ""
    assert "secret" not in repr((server, attempt, relay))
    assert "n0nce" not in repr((server, attempt, relay)), "whoever knows a fence may use it"


@pytest.mark.parametrize(("is_cold", "name"), [(False, "queue"), (True, "load")])
def test_what_a_request_waited_for_is_a_span(it: Rig, is_cold: bool, name: str) -> None:
    it.post(STREAMED)
    it.loop.advance(5)
    it.leases.grant(it.place(), is_cold=is_cold)
    engine = it.upstream.accept()
    it.loop.advance(1)
    engine.say(SSE_HEAD, chunked(token("a")))
    it.loop.advance(3)
    engine.say(chunked(usage(3, 1)), chunked(DONE), b"0\r\n\r\n")
    server, wait, attempt, relay = told(it)
    assert (wait.name, wait.parent) == (name, server.context)
    assert [moments(span) for span in (server, wait, attempt, relay)] == [(0, 9), (0, 5), (5, 9), (6, 9)]
    assert server.attributes["gen_ai.response.time_to_first_chunk"] == 6
    assert server.attributes["cortex.cold_start"] is is_cold


def test_a_refusal_on_the_spot_has_nobody_waiting(it: Rig) -> None:
    it.leases.next(NoHealthyNode())
    it.post(BODY)
    assert [span.kind for span in told(it)] == ["server"]


def test_what_is_done_for_a_request_is_below_its_wait(it: Rig) -> None:
    it.post(BODY)
    (waiter,) = it.leases.open.values()
    cause = waiter.cause()
    it.loop.advance(1)
    it.leases.grant(it.place(), is_cold=True)
    it.upstream.accept().say(whole(REPLY))
    assert cause.request_id == it.record.request_id
    assert cause.context == told(it)[1].context


def test_every_attempt_has_its_span_and_the_engine_knows_which(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    it.post(BODY, CALLER, (b"tracestate", b"lab=1"))
    first = it.upstream.accept()
    said = [first.received()]
    it.loop.advance(1)
    first.lose()
    second = it.upstream.accept()
    said.append(second.received())
    it.loop.advance(1)
    second.say(whole(REPLY))
    server, lost, attempt, _ = told(it)
    assert server.parent is not None
    assert server.parent.traceparent == CALLER[1]
    assert [moments(span) for span in (server, lost, attempt)] == [(0, 2), (0, 1), (1, 2)]
    assert (lost.error, attempt.error, server.error) == ("upstream_broken", "", "")
    assert "http.response.status_code" not in lost.attributes
    assert attempt.attributes["http.request.resend_count"] == 1
    for span, head in zip((lost, attempt), said, strict=True):
        assert b"traceparent: %b\r\n" % span.context.traceparent in head
        assert head.count(b"traceparent") == 1
        assert b"tracestate: lab=1\r\n" in head


def test_without_a_tracer_what_the_caller_says_is_passed_on(it: Rig) -> None:
    it.plane.tracer = None
    it.leases.next(it.place())
    it.post(BODY, CALLER)
    engine = it.upstream.accept()
    assert b"%b: %b\r\n" % CALLER in engine.received()
    engine.say(whole(REPLY))
    assert it.record.trace_id == ""


def test_a_request_for_which_there_is_no_place_has_waited_in_vain(it: Rig) -> None:
    it.post(BODY)
    it.loop.advance(4)
    it.leases.refuse(NoHealthyNode())
    server, wait = told(it)
    assert (server.error, wait.error) == ("no_healthy_node", "no_healthy_node")
    assert server.attributes["http.response.status_code"] == 503
    assert moments(wait) == (0, 4)


def test_the_log_knows_the_trace_where_there_is_one(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(BODY, CALLER)
    it.upstream.accept().say(whole(REPLY))
    assert it.record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_what_is_not_recorded_is_not_told_and_engines_hear_that(it: Rig) -> None:
    it.plane.tracer = a_tracer(kept := Kept(), ratio=0.0)
    it.leases.next(it.place())
    it.post(BODY)
    engine = it.upstream.accept()
    assert b"-00\r\n" in engine.received().partition(b"traceparent: ")[2]
    engine.say(whole(REPLY))
    assert kept.sources == []
    assert it.record.trace_id == ""


def test_a_client_that_leaves_is_no_failure_of_the_engine(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.say(SSE_HEAD, chunked(token("a")))
    client.leave()
    server, attempt, _ = told(it)
    assert (server.attributes["cortex.outcome"], server.error, attempt.error) == ("client_gone", "", "")


@pytest.mark.parametrize("host", [b"", b"[", b"a:b", b"h:99999", b"\xff"])
def test_a_host_that_is_none_costs_nothing_but_itself(it: Rig, host: bytes) -> None:
    client = it.request(b"POST", b"/v1/chat/completions", host=host)
    client.body(b"{")
    client.end()
    (server,) = told(it)
    assert client.answer.status == 400
    assert server.attributes["http.response.status_code"] == 400
    assert server.start_s == EPOCH_S == it.record.started_s
    assert it.loop.time() == START_S


@pytest.mark.parametrize(("tls", "scheme"), [(None, "http"), (object(), "https")])
def test_a_request_through_tls_is_told_as_one(
    it: Rig, monkeypatch: pytest.MonkeyPatch, tls: object, scheme: str
) -> None:
    monkeypatch.setattr(Transport, "get_extra_info", lambda _, name: tls if name == "ssl_object" else None)
    it.leases.next(NoHealthyNode())
    it.post(BODY)
    (server,) = told(it)
    assert server.attributes["url.scheme"] == scheme
