"""Requests of a dialect that engines do not speak: translated on the way there and back, with errors of their own."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.rig import (
    COMMENT,
    DONE,
    ROLE,
    SSE_HEAD,
    Answer,
    Client,
    Rig,
    chunked,
    rig,
    token,
    usage,
    whole,
)
from tests.unit.gateway.data.wire import cuts

from cortex.contract.error import NoHealthyNode, QueueFull

BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
STREAMED = BODY[:-1] + b',"stream":true}'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"model":"m"}\n\n'
REPLY = (
    b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}'
)
ERROR = (
    b'{"error":{"message":"the request exceeds the available context size","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":9,"n_ctx":4}}'
)


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(heartbeat_after_s=5, heartbeat_every_s=3) as one:
        yield one


def ask(it: Rig, body: bytes, *headers: tuple[bytes, bytes]) -> Client:
    return it.post(body, *headers, path=b"/v1/messages", query=b"beta=true")


def said(answer: Answer) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event) for event in answer.events()]


def kinds(answer: Answer) -> list[str]:
    return [event["type"] for event in said(answer)]


def test_a_request_is_written_anew_for_the_engine(it: Rig) -> None:
    it.leases.next(it.place(engine_model="theirs", kind="llamacpp"))
    client = ask(it, BODY, (b"x-stainless-lang", b"python"), (b"traceparent", b"00-1-2-01"), (b"x-api-key", b"secret"))
    engine = it.upstream.accept()
    head, _, body = engine.received().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"traceparent: 00-1-2-01" in head
    assert b"stainless" not in head
    assert b"secret" not in head
    asked = msgspec.json.decode(body)
    assert (asked["model"], asked["messages"]) == ("theirs", [{"role": "user", "content": "hi"}])
    engine.say(whole(REPLY))
    answer = msgspec.json.decode(client.answer.body)
    assert (answer["type"], answer["model"], answer["content"]) == ("message", "m", [{"type": "text", "text": "hi"}])
    assert client.answer.headers["request-id"] == client.answer.headers["x-request-id"]
    assert (it.record.outcome, it.record.status, it.record.prompt_tokens) == ("ok", 200, 3)


MORE_THAN_THERE_IS = (
    b'{"message":"This model\'s maximum context length is 4096 tokens. However, you requested 5096 tokens (4091 in the '
    b'messages, 9 in the completion). Please reduce the length of the messages or completion.","code":400}'
)


@pytest.mark.parametrize("body", [BODY, STREAMED])
def test_an_engine_that_refuses_to_be_asked_for_more_than_there_is_is_asked_for_that(it: Rig, body: bytes) -> None:
    it.leases.next(it.place(kind="vllm"))
    client = ask(it, body)
    engine = it.upstream.accept()
    assert msgspec.json.decode(engine.received().partition(b"\r\n\r\n")[2])["max_tokens"] == 9
    engine.say(whole(MORE_THAN_THERE_IS, 400))
    assert not client.exchange.is_begun
    again = it.upstream.accept()
    asked = msgspec.json.decode(again.received().partition(b"\r\n\r\n")[2])
    assert (asked["max_tokens"], asked["messages"]) == (5, [{"role": "user", "content": "hi"}])
    again.say(whole(REPLY))
    assert client.answer.status == 200
    assert (it.record.outcome, it.record.attempts, it.record.error) == ("ok", 1, None)


def test_a_second_such_refusal_is_the_callers_in_words_that_help(it: Rig) -> None:
    it.leases.next(it.place(kind="vllm"))
    client = ask(it, BODY)
    it.upstream.accept().say(whole(MORE_THAN_THERE_IS, 400))
    it.upstream.accept().say(whole(MORE_THAN_THERE_IS, 400))
    assert client.answer.status == 400
    message = msgspec.json.decode(client.answer.body)["error"]["message"]
    assert "prompt is too long" not in message
    assert "Ask for 5 (max_tokens) at most" in message
    assert it.record.outcome == "engine_error"


def test_a_request_that_passes_through_is_never_asked_anew(it: Rig) -> None:
    it.leases.next(it.place(kind="vllm"))
    client = it.post(b'{"model":"m","messages":[]}')
    it.upstream.accept().say(whole(MORE_THAN_THERE_IS, 400))
    assert (client.answer.status, client.answer.error["code"]) == (400, "context_length_exceeded")
    assert not it.upstream.connecting


def test_a_stream_is_the_same_however_the_engines_bytes_are_cut(it: Rig) -> None:
    seen = set()
    stream = b"".join(
        (ROLE, COMMENT, token("h\xc3\xa4".encode("latin-1").decode()), token("i"), FINISH, usage(3, 2), DONE)
    )
    for pieces in cuts(SSE_HEAD + chunked(stream, end=True)):
        it.leases.next(it.place())
        client = ask(it, STREAMED)
        it.upstream.accept().say(*pieces)
        assert client.answer.is_whole
        assert kinds(client.answer)[-1] == "message_stop"
        text = "".join(
            event["delta"].get("text", "") for event in said(client.answer) if event["type"] == "content_block_delta"
        )
        seen.add((text, tuple(kinds(client.answer))))
        record = it.records.pop()
        assert (record.outcome, record.completion_tokens) == ("ok", 2)
    assert len(seen) == 1


def test_an_attempt_that_fails_before_its_first_word_leaves_no_trace(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    client = ask(it, STREAMED)
    first = it.upstream.accept()
    first.stream(ROLE)
    assert not client.exchange.is_begun
    first.lose()
    it.upstream.accept().stream(ROLE, token("hi"), FINISH, DONE, end=True)
    assert kinds(client.answer).count("message_start") == 1
    assert it.record.node == "b"


@pytest.mark.parametrize("end", [FINISH, DONE, FINISH + DONE])
def test_a_stream_that_ends_as_engines_do_is_ended(it: Rig, end: bytes) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"), end, end=True)
    assert kinds(client.answer)[-1] == "message_stop"
    assert it.record.outcome == "ok"


def test_an_engine_that_dies_after_its_finish_has_said_all(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"), FINISH)
    engine.lose()
    assert kinds(client.answer)[-1] == "message_stop"
    assert it.record.outcome == "ok"


def test_a_stream_that_breaks_after_a_word_ends_with_an_error_event(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"))
    engine.lose()
    assert client.answer.is_whole
    assert kinds(client.answer)[-1] == "error"
    assert "message_stop" not in kinds(client.answer)
    assert (it.record.outcome, it.record.error) == ("failed", "upstream_broken")


def test_an_error_before_the_first_word_of_a_stream_has_a_status_of_its_own(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    it.upstream.accept().stream(ROLE, b"data: %b\n\n" % ERROR)
    assert client.answer.status == 400
    assert msgspec.json.decode(client.answer.body)["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 9 tokens > 4 maximum",
    }
    assert it.record.status == 400


def test_an_error_within_a_stream_ends_it(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"))
    engine.more(b'data: {"error":{"message":"out of memory"}}\n\n', DONE, end=True)
    assert kinds(client.answer)[-1] == "error"
    assert it.record.outcome == "failed"


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_an_engine_refuses_is_told_in_the_callers_dialect(it: Rig, is_stream: bool) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED if is_stream else BODY)
    it.upstream.accept().say(whole(ERROR, 400))
    error = msgspec.json.decode(client.answer.body)
    assert (client.answer.status, error["type"]) == (400, "error")
    assert error["error"]["message"] == "prompt is too long: 9 tokens > 4 maximum"
    assert error["request_id"] == client.answer.headers["request-id"]
    assert (it.record.outcome, it.record.status) == ("engine_error", 400)


def test_an_engine_that_knows_no_streams_is_streamed_all_the_same(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.is_stream
    assert kinds(client.answer) == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert (it.record.outcome, it.record.completion_tokens) == ("ok", 2)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (ERROR, 400),
        (b"<html>", 502),
        (b"[]", 502),
        (b'{"choices":7}', 502),
        (b'{"error":null}', 502),
        (b'{"choices":[null]}', 502),
    ],
)
def test_what_came_instead_of_a_stream_and_is_no_answer_is_told_as_it_is(it: Rig, said: bytes, status: int) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    it.upstream.accept().say(whole(said))
    assert client.answer.status == status
    assert msgspec.json.decode(client.answer.body)["type"] == "error"
    assert it.record.outcome == "failed"


def test_a_stream_to_who_asked_for_none_is_an_error(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, BODY)
    it.upstream.accept().stream(token("hi"), FINISH, DONE, end=True)
    assert (client.answer.status, client.answer.headers["content-type"]) == (502, "application/json")
    assert it.record.error == "engine_failed"


def test_an_answer_that_is_of_no_use_is_an_error(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, BODY)
    it.upstream.accept().say(whole(b"<html>"))
    assert client.answer.status == 502
    assert msgspec.json.decode(client.answer.body)["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("error", "status", "kind"), [(QueueFull(), 529, "overloaded_error"), (NoHealthyNode(), 503, "api_error")]
)
def test_want_of_capacity_is_told_as_these_clients_know_it(it: Rig, error: Any, status: int, kind: str) -> None:
    it.leases.next(error)
    client = ask(it, BODY)
    assert client.answer.status == status
    assert msgspec.json.decode(client.answer.body)["error"]["type"] == kind
    assert client.answer.headers["retry-after"] == "2"


def test_a_malformed_request_is_refused_in_its_dialect(it: Rig) -> None:
    client = ask(it, b'{"model":"m"}')
    assert client.answer.status == 400
    assert msgspec.json.decode(client.answer.body)["error"]["type"] == "invalid_request_error"
    assert it.record.outcome == "refused"


def test_signs_of_life_come_while_it_waits_and_while_an_engine_is_silent(it: Rig) -> None:
    client = ask(it, STREAMED)
    it.loop.advance(6)
    assert client.answer.status == 200
    waiting = client.answer.body.count(b"event: ping")
    assert waiting >= 1
    it.leases.grant(it.place())
    engine = it.upstream.accept()
    it.loop.advance(4)
    reading = client.answer.body.count(b"event: ping")
    assert reading > waiting
    engine.stream(token("hi"))
    it.loop.advance(4)
    assert client.answer.body.count(b"event: ping") > reading
    engine.more(FINISH, DONE, end=True)
    assert kinds(client.answer)[-1] == "message_stop"


def test_signs_of_life_do_not_hide_that_an_engine_is_silent_for_too_long() -> None:
    with rig(heartbeat_after_s=5, heartbeat_every_s=3, first_token_timeout_s=20, stall_timeout_s=30) as it:
        it.leases.next(it.place())
        client = ask(it, STREAMED)
        it.upstream.accept().stream(token("hi"))
        it.loop.advance(31)
        assert kinds(client.answer)[-1] == "error"
        assert it.record.error == "upstream_timeout"


def test_a_refusal_after_signs_of_life_is_an_event(it: Rig) -> None:
    client = ask(it, STREAMED)
    it.loop.advance(6)
    it.leases.grant(it.place())
    it.upstream.accept().say(whole(ERROR, 400))
    assert kinds(client.answer)[-1] == "error"
    assert said(client.answer)[-1]["error"]["message"] == "prompt is too long: 9 tokens > 4 maximum"


# OpenAI's own


def test_an_engines_error_that_openais_clients_know_is_passed_on_as_it_is(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m"}')
    it.upstream.accept().say(whole(ERROR, 400))
    assert (client.answer.status, client.answer.body) == (400, ERROR)
    assert it.record.outcome == "engine_error"


def test_an_engines_error_of_another_shape_is_put_into_openais_envelope(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m"}')
    it.upstream.accept().say(whole(b"Failed to parse the request body as JSON", 400, b"text/plain"))
    assert client.answer.status == 400
    assert "Failed to parse" in client.answer.error["message"]
    assert it.record.outcome == "engine_error"


def test_signs_of_life_come_while_a_call_is_held_back_though_its_engine_writes_on(it: Rig) -> None:
    it.leases.next(it.place())
    client = ask(it, STREAMED)
    engine = it.upstream.accept()
    engine.stream(token("hi"))
    for part in ('{"a":', "1", "2", "}"):
        piece = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": part}}
        engine.more(
            b"data: %b\n\n" % msgspec.json.encode({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})
        )
        it.loop.advance(2)
    assert client.answer.body.count(b"event: ping") >= 2
    engine.more(FINISH, DONE, end=True)
    assert '{\\"a\\":12}' in client.answer.body.decode()


def test_what_is_left_out_of_requests_is_logged_once(it: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tools = (
        b',"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}]}'
    )
    for _ in range(2):
        it.leases.next(QueueFull())
        ask(it, BODY[:-1] + tools)
    assert caplog.text.count("web_search") == 1


def test_anthropics_clients_are_answered_in_their_dialect_everywhere(it: Rig) -> None:
    answer = it.get(b"/v1/models/none", (b"anthropic-version", b"2023-06-01"))
    assert (answer.status, msgspec.json.decode(answer.body)["type"]) == (404, "error")
    assert answer.headers["request-id"]
    assert "error" in msgspec.json.decode(it.get(b"/v1/models/none").body)


def test_a_response_that_failed_before_its_first_word_says_whose_it_is_and_is_kept(it: Rig) -> None:
    client = it.post(b'{"model":"m","input":"hi","stream":true}', path=b"/v1/responses")
    it.loop.advance(6)
    it.leases.refuse(QueueFull())
    last = said(client.answer)[-1]
    assert (last["type"], last["response"]["model"], last["response"]["status"]) == ("response.failed", "m", "failed")
    (kept,) = it.kept
    assert kept.id == last["response"]["id"]
