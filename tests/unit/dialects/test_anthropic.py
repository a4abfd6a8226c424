"""A request of Anthropic's dialect from its body to its answer."""

from typing import Any

import msgspec
import pytest
from tests.unit.dialects.anthropic_checker import check_message, events_of, message_of
from tests.unit.dialects.chat_engine import STOP, calling, chunk, dumped, piece, usage, whole

from cortex.contract.error import CallerError, EngineFailed, QueueFull
from cortex.dialects.anthropic import ANTHROPIC, AnthropicTranslation
from cortex.dialects.engine import GENERIC
from cortex.dialects.interface import Dialect, Mint, StreamWriter, Translation

TOOL = {"name": "f", "input_schema": {"type": "object"}}


def asked(**more: Any) -> AnthropicTranslation:
    body = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **more}
    return ANTHROPIC.translate(dumped(body), Mint(epoch_s=0.0, new_id=lambda prefix: prefix + "1"))


def reply(translation: Translation, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(translation.reply(body))
    return check_message(found)


def stream(writer: StreamWriter, *payloads: bytes) -> dict[str, Any]:
    return message_of(b"".join(map(writer.feed, payloads)) + writer.end())


def test_the_dialect_is_one() -> None:
    dialect: Dialect = ANTHROPIC
    assert (dialect.name, dialect.stream_type) == ("anthropic", b"text/event-stream")


def test_a_request_shows_what_the_gateway_must_know() -> None:
    translation = asked(stream=True)
    assert (translation.model, translation.is_stream, translation.max_tokens) == ("claude-x", True, 100)
    assert (translation.needs, translation.keep(None)) == ((), None)


def test_a_request_goes_to_the_engine_under_its_name_for_the_model_and_comes_back_under_the_callers() -> None:
    translation = asked()
    assert msgspec.json.decode(translation.body(GENERIC, "engine-model", None))["model"] == "engine-model"
    assert reply(translation, whole(content="a"))["model"] == "claude-x"
    assert stream(translation.writer(), chunk(content="a"), STOP)["model"] == "claude-x"


def test_a_picture_elsewhere_is_needed_and_supplied() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}}
    translation = asked(messages=[{"role": "user", "content": [picture]}])
    (need,) = translation.needs
    translation.supply(need, b"data:image/png;base64,AAAA")
    assert b"data:image/png;base64,AAAA" in translation.body(GENERIC, "m", None)


def test_a_call_has_no_id_that_the_conversation_has_already() -> None:
    use = {"type": "tool_use", "id": "call_0", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "call_0", "content": "1"}
    turns = [("user", "Hi"), ("assistant", [use]), ("user", [result])]
    translation = asked(messages=[{"role": role, "content": content} for role, content in turns], tools=[TOOL])
    again = piece("{}", "f", "call_0")
    assert reply(translation, whole(tool_calls=[again]))["content"][0]["id"] == "toolu_1"
    assert stream(translation.writer(), calling(again), STOP)["content"][0]["id"] == "toolu_1"


def test_an_answer_obeys_what_the_request_asked_for() -> None:
    translation = asked(stop_sequences=["END"])
    ended = {"index": 0, "delta": {"reasoning": "hm"}, "finish_reason": "stop", "stop_reason": "END"}
    found = stream(translation.writer(), dumped({"choices": [ended]}))
    assert (found["content"], found["stop_sequence"]) == ([], "END"), "no thinking was asked for"
    thinking = asked(thinking={"type": "adaptive", "display": "omitted"})
    assert reply(thinking, whole(reasoning="hm"))["content"][0]["thinking"] == ""
    single = asked(tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    calls = [piece("{}", "f", "a"), piece("{}", "f", "b", 1)]
    assert len(reply(single, whole(tool_calls=calls))["content"]) == 1


def test_a_full_context_is_that_of_the_engine_that_was_asked_last() -> None:
    translation = asked()
    body = whole("length", {"usage": usage(1000, 24)}, content="a")
    for context, reason in ((4096, "max_tokens"), (1024, "model_context_window_exceeded")):
        translation.body(GENERIC, "m", context)
        assert reply(translation, body)["stop_reason"] == reason


def test_every_attempt_has_a_writer_of_its_own() -> None:
    translation = asked()
    first, second = translation.writer(), translation.writer()
    first.feed(calling(piece('{"x"', "f", "a")))
    assert stream(second, chunk(content="a"), STOP)["content"] == [{"type": "text", "text": "a"}]


def test_what_was_forgotten_can_still_be_answered() -> None:
    translation = asked()
    translation.forget()
    assert reply(translation, whole(content="a"))["content"]


def test_what_was_left_out_of_a_request_is_known() -> None:
    translation = asked(tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}])
    assert any("web_search" in dropped for dropped in translation.dropped)


def test_a_bad_request_is_the_callers_error_and_a_bad_answer_the_engines() -> None:
    with pytest.raises(CallerError):
        asked(messages=7)
    with pytest.raises(EngineFailed):
        asked().reply(b"<html>")


def test_errors_come_as_a_body_and_end_a_stream_as_an_event() -> None:
    body = ANTHROPIC.error_body(QueueFull("Many wait."), 529, "req_1")
    assert msgspec.json.decode(body)["error"] == {"type": "overloaded_error", "message": "Many wait."}
    (event,) = events_of(asked().writer().fail(QueueFull("Many wait."), 529))
    assert {**event, "request_id": "req_1"} == msgspec.json.decode(body)


def test_a_sign_of_life_says_to_people_what_is_going_on() -> None:
    assert ANTHROPIC.heartbeat("loading", "m") == b': loading\nevent: ping\ndata: {"type":"ping"}\n\n'
