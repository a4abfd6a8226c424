"""Chunks are read whatever their types are; what is none, or an error of another shape, is an error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.chat_engine import chunk, dumped, usage

from cortex.dialects.chat_chunk import Chunk, read_chunk


def only_delta(payload: bytes) -> object:
    choices = read_chunk(payload).choices
    assert choices is not None
    return choices[0].delta


def test_a_chunk_of_other_types_says_the_same_where_it_can() -> None:
    wrong = {
        "id": 7,
        "choices": [
            None,
            {
                "index": "0",
                "delta": {"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}], "role": 1},
                "finish_reason": {"type": "stop", "matched": "END"},
            },
        ],
        "usage": {"prompt_tokens": 3.0, "completion_tokens": "?", "total_tokens": True, "prompt_tokens_details": []},
    }
    read = read_chunk(dumped(wrong))
    assert read.choices is not None
    (choice,) = read.choices
    assert choice.delta is not None
    assert (choice.index, choice.delta.content) == (0, "ab")
    assert (choice.finish_reason, choice.matched_stop) == ("stop", "END")
    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (3, None, None)


def test_a_lenient_reading_loses_nothing_of_a_chunk_that_is_mostly_right() -> None:
    call = {"index": "1", "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    odd = {"content": "t", "reasoning_content": "r", "reasoning": "r2", "refusal": 0, "tool_calls": [call, 7]}
    more = {"usage": usage(cached=2, reasoning=1), "timings": {"prompt_n": 1, "cache_n": 2, "predicted_n": 3}}
    payload = chunk("stop", more, **odd, function_call={"name": "g"})
    read = read_chunk(payload)
    (choice,) = read.choices or ()
    delta = choice.delta
    assert delta is not None
    assert (delta.content, delta.reasoning_content, delta.reasoning, delta.refusal) == ("t", "r", "r2", None)
    (found,) = delta.tool_calls or ()
    assert (found.index, found.id) == (1, "a")
    assert found.function is not None
    assert (found.function.name, found.function.arguments) == ("f", {"x": 1})
    assert delta.function_call is not None
    assert delta.function_call.name == "g"
    assert read.usage is not None
    assert read.usage.prompt_tokens_details is not None
    assert read.usage.prompt_tokens_details.cached_tokens == 2
    assert read.usage.completion_tokens_details is not None
    assert read.usage.completion_tokens_details.reasoning_tokens == 1
    assert read.timings is not None
    assert (read.timings.prompt_n, read.timings.cache_n, read.timings.predicted_n) == (1, 2, 3)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"error":{"message":"m"}}', {"message": "m"}),
        (b'{"error":"words"}', "words"),
        (b'{"message":"old"}', {"message": "old"}),
        (b'{"object":"error","message":"m","code":400}', {"object": "error", "message": "m", "code": 400}),
        (b'{"detail":[{"msg":"m"}]}', {"detail": [{"msg": "m"}]}),
        (b"Internal Server Error", "Internal Server Error"),
        (b'"words"', "words"),
        (b"\xff", "\ufffd"),
    ],
)
def test_an_error_of_any_shape_is_one(payload: bytes, error: object) -> None:
    assert read_chunk(payload).error == error


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b"[" * 5000])
def test_what_is_no_object_is_an_error(payload: bytes) -> None:
    assert read_chunk(payload).error


@pytest.mark.parametrize("payload", [b"{}", b'{"error":null}', b'{"error":""}', b'{"prompt_progress":{"total":1}}'])
def test_an_object_without_choices_says_nothing(payload: bytes) -> None:
    read = read_chunk(payload)
    assert not read.error
    assert read.choices is None


def test_half_a_character_stays_what_it_is_until_the_other_half_comes() -> None:
    assert getattr(only_delta(b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}'), "content", None) == "a\ud83d"
    assert getattr(only_delta(b'{"choices":[{"delta":{"content":"a\xf0\x9f"}}]}'), "content", None) == "a\udcf0\udc9f"


KEYS = [
    "choices",
    "delta",
    "message",
    "content",
    "tool_calls",
    "function",
    "arguments",
    "id",
    "index",
    "usage",
    "prompt_tokens",
    "prompt_tokens_details",
    "finish_reason",
    "error",
    "timings",
    "function_call",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(JSON)
def test_any_json_is_read(value: object) -> None:
    assert isinstance(read_chunk(json.dumps(value).encode()), Chunk)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_are_read(payload: bytes) -> None:
    assert isinstance(read_chunk(payload), Chunk)
