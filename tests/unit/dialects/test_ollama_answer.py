"""What a client of Ollama's gets for what an engine says, whole and line by line."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.chat_engine import calling, chunk, piece, usage_alone
from tests.unit.dialects.ollama_case import a_mint, chat, generate, lines
from tests.unit.dialects.stream import DONE, FINISH, ROLE_ONLY, delta, stream, text, usage_only

from cortex.contract.error import EngineFailed, UpstreamError, UpstreamTimeout
from cortex.dialects.engine import GENERIC, EngineTraits
from cortex.dialects.ollama import OllamaTranslation
from cortex.dialects.translating_tap import TranslatingTap

THOUGHT = delta(b'"reasoning_content":"Hm."')
CALL = delta(b'"tool_calls":[{"index":0,"id":"c1","function":{"name":"weather","arguments":"{\\n\\"at\\": 1}"}}]')
CUT_CALL = delta(b'"tool_calls":[{"index":0,"id":"c1","function":{"name":"sh","arguments":"{\\"cmd\\": \\"rm /da"}}]')
LENGTH = delta(b"", finish=b'"length"')
HEAD = {"model": "m", "created_at": "2023-11-14T22:13:20.250000Z"}


def said(*payloads: bytes, to: OllamaTranslation | None = None) -> list[dict[str, Any]]:
    writer = (to or chat()).writer()
    return lines(b"".join(writer.feed(payload) for payload in payloads) + writer.end())


def message(**members: object) -> dict[str, Any]:
    return {**HEAD, "message": {"role": "assistant", **members}, "done": False}


def whole(choice: dict[str, Any], to: OllamaTranslation | None = None, **more: object) -> dict[str, Any]:
    body = {"choices": [{"index": 0, "finish_reason": "stop", **choice}], **more}
    answer: dict[str, Any] = json.loads((to or chat(stream=False)).reply(json.dumps(body).encode()))
    return answer


def test_each_piece_of_a_chat_is_a_line_and_the_last_has_the_counts() -> None:
    assert said(ROLE_ONLY, text(b"Hi"), text(b" you"), FINISH, usage_only()) == [
        message(content="Hi"),
        message(content=" you"),
        {
            **HEAD,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
        },
    ]


def test_what_is_generated_stands_under_response() -> None:
    assert said(THOUGHT, text(b"Hi"), FINISH, to=generate()) == [
        {**HEAD, "response": "", "thinking": "Hm.", "done": False},
        {**HEAD, "response": "Hi", "done": False},
        {**HEAD, "response": "", "done": True, "done_reason": "stop"},
    ]


def test_thinking_has_a_field_of_its_own() -> None:
    assert said(THOUGHT, text(b"Hi"), FINISH)[:2] == [message(content="", thinking="Hm."), message(content="Hi")]


def test_thinking_that_was_not_wanted_is_not_told() -> None:
    assert said(THOUGHT, text(b"Hi"), FINISH, to=chat(think=False))[0] == message(content="Hi")
    answer = whole({"message": {"content": "Hi", "reasoning_content": "Hm."}}, chat(think=False, stream=False))
    assert answer["message"] == {"role": "assistant", "content": "Hi"}


def test_a_call_is_whole_and_its_arguments_are_an_object_on_the_same_line() -> None:
    function = {"index": 0, "name": "weather", "arguments": {"at": 1}}
    assert said(CALL, FINISH)[0] == message(content="", tool_calls=[{"id": "c1", "function": function}])


def test_calls_are_counted_and_one_without_an_id_gets_one() -> None:
    two = delta(
        b'"tool_calls":[{"index":0,"function":{"name":"a","arguments":"{}"}},'
        b'{"index":1,"function":{"name":"b","arguments":"{}"}}]'
    )
    calls = [call for line in said(two, FINISH)[:-1] for call in line["message"]["tool_calls"]]
    assert [(call["id"], call["function"]["index"]) for call in calls] == [("call_1", 0), ("call_2", 1)]


@pytest.mark.parametrize(
    ("finish", "reason"), [(b'"stop"', "stop"), (b'"length"', "length"), (b'"tool_calls"', "stop")]
)
def test_done_reason_is_stop_or_length(finish: bytes, reason: str) -> None:
    assert said(text(b"x"), delta(b"", finish=finish))[-1]["done_reason"] == reason


def test_nothing_is_said_before_the_first_content_and_nothing_at_the_end_of_a_cut_stream() -> None:
    assert said(ROLE_ONLY, usage_only()) == []
    assert said(text(b"Hi")) == [message(content="Hi")]


def test_an_error_of_the_engine_is_the_last_line() -> None:
    writer = chat().writer()
    out = writer.feed(text(b"Hi")) + writer.feed(b'{"error":{"message":"out of luck","type":"server_error"}}')
    assert lines(out)[1:] == [{"error": "The engine failed at this request: out of luck"}]
    assert isinstance(writer.failure, EngineFailed)
    assert not writer.is_complete
    assert writer.end() == b""
    assert writer.fail(UpstreamTimeout(), 504) == b"", "it has been told already"


def test_a_stream_is_ended_with_an_error_wherever_it_stands() -> None:
    writer = chat().writer()
    assert lines(writer.fail(UpstreamTimeout(), 504)) == [{"error": UpstreamTimeout().message}]
    assert isinstance(writer.failure, UpstreamTimeout)
    done = chat().writer()
    assert done.feed(FINISH) == b""
    assert done.end()
    assert done.fail(UpstreamTimeout(), 504) == b"", "after the last line nothing may follow"


def test_a_call_that_was_cut_is_never_told_but_ends_in_an_error() -> None:
    writer = chat().writer()
    out = lines(writer.feed(CUT_CALL) + writer.feed(FINISH) + writer.end())
    assert list(out[-1]) == ["error"]
    assert not any("tool_calls" in str(line) for line in out)
    assert isinstance(writer.failure, EngineFailed)
    with pytest.raises(EngineFailed):
        whole({"message": {"tool_calls": [{"id": "1", "function": {"name": "sh", "arguments": '{"cmd": "rm'}}]}})


def test_a_call_that_was_cut_for_length_is_left_out() -> None:
    out = said(CUT_CALL, LENGTH)
    assert [line.get("done_reason") for line in out] == ["length"]
    assert "tool_calls" not in str(out)


def test_a_whole_answer_has_all_in_one_object() -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"at": 1}'}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    answer = whole(
        {"message": {"content": "Hi", "reasoning_content": "Hm.", "tool_calls": [call]}, "finish_reason": "tool_calls"},
        usage=usage,
    )
    assert answer == {
        **HEAD,
        "message": {
            "role": "assistant",
            "content": "Hi",
            "thinking": "Hm.",
            "tool_calls": [{"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"at": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 2,
    }


def test_an_empty_answer_is_still_an_answer() -> None:
    assert whole({"message": {"content": ""}})["message"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"error":{"message":"no"}}', b"<html>"])
def test_an_answer_that_is_none_is_the_engines_fault(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        chat(stream=False).reply(body)


@pytest.mark.parametrize("translation", [chat(messages=[]), generate(prompt="")], ids=["chat", "generate"])
def test_a_model_that_was_to_be_loaded_is_told_to_be_loaded_without_its_token(translation: OllamaTranslation) -> None:
    out = said(THOUGHT, text(b"Hi"), LENGTH, usage_only(), to=translation)
    assert [(line["done"], line["done_reason"]) for line in out] == [(True, "load")]
    assert "Hi" not in str(out)
    assert "eval_count" not in out[0]
    answer = whole({"message": {"content": "Hi"}, "finish_reason": "length"}, translation)
    assert answer["done_reason"] == "load"
    assert "Hi" not in str(answer)


def test_a_beginning_that_the_caller_gave_is_not_said_again() -> None:
    echoing = EngineTraits(kind="echo", echoes_beginning=True)
    translation = chat(messages=[{"role": "assistant", "content": "One, "}], stream=False)
    translation.body(echoing, "m", None)
    assert whole({"message": {"content": "One, two"}}, translation)["message"]["content"] == "two"


STREAM = stream(ROLE_ONLY, THOUGHT, text("Héllo 😀".encode()), CALL, FINISH, usage_only(), DONE)


def taken(pieces: list[bytes]) -> bytes:
    tap = TranslatingTap(chat().writer())
    return b"".join(tap.feed(piece, 0.0) for piece in pieces) + tap.close()


def test_a_stream_that_arrives_byte_by_byte_gives_the_same_lines() -> None:
    at_once = taken([STREAM])
    assert lines(at_once)[-1]["done"] is True
    assert taken([STREAM[at : at + 1] for at in range(len(STREAM))]) == at_once


def test_a_stream_put_together_is_the_whole_answer() -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"at": 1}'}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    answer = whole({"message": {"content": "Héllo 😀", "reasoning_content": "Hm.", "tool_calls": [call]}}, usage=usage)
    out = lines(taken([STREAM]))
    pieces = [line["message"] for line in out]
    put = {
        "role": "assistant",
        "content": "".join(piece["content"] for piece in pieces),
        "thinking": "".join(piece.get("thinking", "") for piece in pieces),
        "tool_calls": [call for piece in pieces for call in piece.get("tool_calls", ())],
    }
    assert {**out[-1], "message": put} == answer


CALLS = st.sampled_from([piece("{}", "a", "x"), piece('{"n": [1, "é"]}', "b", "y", 1), piece({"n": 1}, "c", "z", 2)])
WORDS = st.text(alphabet='aé😀\\ "}{', min_size=1, max_size=6)
STEPS = st.one_of(
    st.builds(lambda words: chunk(content=words), WORDS),
    st.builds(lambda words: chunk(reasoning_content=words), WORDS),
    st.builds(calling, CALLS),
    st.sampled_from([chunk(role="assistant"), chunk(content=""), chunk(tool_calls=[]), usage_alone()]),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=8), finish=st.sampled_from(["stop", "tool_calls", "length"]))
def test_whatever_an_engine_streams_is_lines_of_which_only_the_last_is_done(steps: list[bytes], finish: str) -> None:
    out = said(*steps, chunk(finish), usage_alone())
    assert [line["done"] for line in out] == [False] * (len(out) - 1) + [True]
    assert all(line["model"] == "m" for line in out)
    assert all(any(line["message"].get(key) for key in ("content", "thinking", "tool_calls")) for line in out[:-1])
    called = [call["function"] for line in out for call in line["message"].get("tool_calls", ())]
    assert [call["index"] for call in called] == list(range(len(called)))
    assert all(isinstance(call["arguments"], dict) for call in called)
    assert out[-1]["eval_count"] == 4


def test_durations_are_nanoseconds_on_the_gateways_clock() -> None:
    times = iter([0.0, 1.5, 2.0, 4.0])  # made, sent, first content, end
    translation = chat(a_mint(times))
    translation.body(GENERIC, "m", None)
    last = said(text(b"Hi"), text(b"!"), FINISH, to=translation)[-1]
    assert {name: last[name] for name in last if name.endswith("duration")} == {
        "total_duration": 4_000_000_000,
        "load_duration": 1_500_000_000,
        "prompt_eval_duration": 500_000_000,
        "eval_duration": 2_000_000_000,
    }
