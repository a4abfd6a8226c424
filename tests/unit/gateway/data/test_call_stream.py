"""An answer on its way: before content it may begin anew elsewhere, after it every end is told in the answer itself."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.gateway.data.rig import DONE, ROLE, SSE_HEAD, Rig, chunked, rig, token, usage, whole

from cortex.contract.error import NoHealthyNode

BODY = b'{"model":"m","messages":[]}'
STREAMED = b'{"model":"m","stream":true}'
REPLY = b'{"model":"m","choices":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def test_a_stream_that_breaks_before_content_begins_anew_elsewhere(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    client = it.post(STREAMED)
    first = it.upstream.accept()
    first.stream(ROLE)
    first.lose()
    it.upstream.accept().stream(ROLE, token("hi"), DONE, end=True)
    answer = client.answer
    assert answer.is_whole
    assert answer.body == ROLE + ROLE + token("hi") + DONE
    assert (it.record.outcome, it.record.node) == ("ok", "b")


def test_engines_that_die_after_no_more_than_a_head_cause_a_clear_status(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    client = it.post(STREAMED)
    for _ in range(2):
        engine = it.upstream.accept()
        engine.say(SSE_HEAD)
        engine.lose()
    assert client.answer.status == 502
    assert client.answer.error["code"] == "upstream_broken"


def test_a_stream_that_breaks_after_content_ends_with_an_error_event(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b"))
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(ROLE, token("hi"))
    engine.lose()
    answer = client.answer
    assert (answer.status, answer.is_whole, client.ended) == (200, True, 1)
    assert client.exchange.is_keep_alive
    assert answer.body.startswith(ROLE + token("hi"))
    assert answer.error["code"] == "upstream_broken"
    assert b"[DONE]" not in answer.body
    assert not it.upstream.connecting
    assert (it.record.outcome, it.record.status, it.record.attempts) == ("failed", 200, 1)


def test_an_error_event_stands_alone_also_after_half_an_event(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"), token("half").removesuffix(b"\n"))
    engine.lose()
    events = client.answer.events()
    assert len(events) == 3
    assert msgspec.json.decode(events[1])["choices"][0]["delta"]["content"] == "half"
    assert client.answer.error["code"] == "upstream_broken"


def test_an_unfinished_line_is_not_put_before_the_error_event(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"), b'data: {"choices":[{"del')
    engine.lose()
    assert b'"del' not in client.answer.body.replace(b'"delta"', b"")
    assert len(client.answer.events()) == 2


def test_a_stream_that_ends_without_done_is_broken(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.upstream.accept().stream(token("hi"), end=True)
    assert client.answer.body.startswith(token("hi"))
    assert client.answer.error["code"] == "upstream_broken"
    assert it.leases.suspicions() == [("a", "died")]
    assert it.record.outcome == "failed"


def test_a_stream_that_ends_empty_is_tried_elsewhere(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    client = it.post(STREAMED)
    it.upstream.accept().stream(ROLE, end=True)
    it.upstream.accept().stream(token("hi"), DONE, end=True)
    assert client.answer.body.endswith(token("hi") + DONE)
    assert it.record.outcome == "ok"


def test_a_stream_that_ended_empty_at_two_places_gets_no_third(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"), it.place("c", "http://z:1"))
    client = it.post(STREAMED)
    it.upstream.accept().stream(ROLE, end=True)
    it.upstream.accept().stream(ROLE, end=True)
    assert not it.upstream.connecting
    assert client.answer.error["code"] == "upstream_broken"
    assert it.leases.suspicions() == [("a", "died"), ("b", "died")]


def test_a_refusal_after_a_stream_that_had_begun_is_its_last_event(it: Rig) -> None:
    it.leases.next(it.place("a"))
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(ROLE, usage(9, 9))
    engine.lose()
    it.leases.refuse(NoHealthyNode("No node is healthy."))
    assert client.answer.error["code"] == "no_healthy_node"
    record = it.record
    assert (record.outcome, record.status, record.completion_tokens) == ("refused", 503, None)


def test_a_stream_of_another_kind_needs_no_done(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m","stream_format":"sse"}', path=b"/v1/audio/speech")
    it.upstream.accept().stream(b'data: {"type":"speech.audio.done"}\n\n', end=True)
    assert client.answer.is_whole
    assert it.record.outcome == "ok"


def test_a_connection_that_breaks_after_done_does_no_harm(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"), DONE)
    assert not client.is_over
    engine.lose()
    assert client.answer.is_whole
    assert client.answer.body == token("hi") + DONE
    assert it.leases.suspected == []
    assert it.record.outcome == "ok"


def test_an_engines_own_error_event_is_the_last_one(it: Rig) -> None:
    said = b'data: {"error":{"message":"CUDA error","code":500}}\n\n'
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.upstream.accept().stream(token("hi"), said, end=True)
    assert client.answer.body == token("hi") + said
    assert client.exchange.is_keep_alive
    assert (it.record.outcome, it.record.error) == ("failed", "upstream_broken")


def test_an_unstreamed_answer_that_breaks_off_is_broken_off(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b"))
    client = it.post(BODY)
    engine = it.upstream.accept()
    engine.say(whole(REPLY)[:-5])
    assert client.transport.written.endswith(REPLY[:-5])
    engine.lose()
    assert client.is_aborted
    assert not client.answer.is_whole
    assert not it.upstream.connecting
    assert it.record.outcome == "failed"


def test_an_answer_that_breaks_off_while_it_is_held_to_be_renamed_is_a_clear_error(it: Rig) -> None:
    it.leases.next(it.place(engine_model="default"), it.place(engine_model="default"))
    client = it.post(BODY)
    engine = it.upstream.accept()
    engine.say(whole(b'{"model":"default","choices":[]}')[:-5])
    engine.lose()
    assert client.answer.status == 502
    assert client.answer.error["code"] == "upstream_broken"
    assert it.record.outcome == "failed"


def test_an_answer_that_is_not_http_counts_as_no_answer(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    client = it.post(BODY)
    first = it.upstream.accept()
    first.say(b"\x00\x01garbage\r\n\r\n")
    assert first.is_dropped
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    assert it.leases.suspicions() == [("a", "died")]


def test_a_stream_passes_in_the_very_pieces_in_which_it_comes(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.say(SSE_HEAD)
    for piece in (ROLE, token("a"), token("b") + token("c"), token("d")):
        before = len(client.transport.written)
        engine.more(piece)
        assert bytes(client.transport.written[before:]).endswith(chunked(piece))
    engine.more(DONE, end=True)
    assert client.answer.is_whole


def test_a_stream_with_an_error_status_is_passed_on_as_it_is(it: Rig) -> None:
    said = b'data: {"error":{"message":"no such tool"}}\n\n'
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.upstream.accept().say(SSE_HEAD.replace(b"200 OK", b"400 Bad Request") + chunked(said, end=True))
    assert (client.answer.status, client.answer.body) == (400, said)
    assert it.record.outcome in ("failed", "engine_error")


def test_a_defect_of_ours_answers_its_request_and_stops_its_engine(it: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def break_once() -> None:
        client.transport.on_write = lambda: None
        raise ZeroDivisionError

    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"))
    client.transport.on_write = break_once
    engine.more(token("ho"))
    assert engine.is_dropped
    assert client.answer.is_whole
    assert client.answer.error["code"] == "internal_error"
    assert (it.record.outcome, it.record.error) == ("failed", "internal_error")
    assert "ZeroDivisionError" in caplog.text


def test_an_error_event_with_a_done_after_it_is_a_failure(it: Rig) -> None:
    """As mistral.rs ends a stream that it cannot go on with."""
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    engine.more(b'data: {"error":{"message":"out of memory"}}\n\n', DONE, end=True)
    assert b"out of memory" in client.answer.body
    assert client.answer.body.endswith(DONE)
    assert (it.record.outcome, it.record.error) == ("failed", "upstream_broken")
