"""What is no request of Anthropic's dialect is refused as the caller's fault, whatever it is."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.claude import ALL, PICTURE, asked, refusal, result, text, tool, turn, use, user

from cortex.contract.error import CallerError, MalformedRequest, ModelMissing
from cortex.dialects.anthropic_request import read_anthropic, read_count


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"max_tokens": None}, "max_tokens: missing, but required"),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"max_tokens": "7"}, "max_tokens: expected a whole number or null, got a string"),
        ({"messages": None}, "messages: missing, but required"),
        ({"messages": []}, "messages: at least one message of a user is required"),
        ({"messages": [turn("system", "a")]}, "messages: at least one message of a user is required"),
        ({"messages": [user("")]}, "messages: at least one message of a user is required"),
        ({"messages": {}}, "messages: expected an array or null, got an object"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: missing, but required"),
        ({"messages": [{"content": "a"}]}, "messages.0.role: missing, but required"),
        ({"messages": [user("a"), turn("robot", "b")]}, 'messages.1.role: must be "user", "assistant" or "system"'),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content: expected a string or an array, got"),
        ({"messages": [user(7)]}, "messages.0.content.0: expected an object, got a whole number"),
        ({"messages": [user({"text": "a"})]}, "messages.0.content.0.type: missing, but required"),
        ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text: missing, but required"),
        ({"tools": [7]}, "tools.0: expected an object, got a whole number"),
        ({"thinking": {}}, "thinking.type: missing, but required"),
        ({"temperature": "hot"}, "temperature: expected a number or null, got a string"),
        ({"stop_sequences": "x"}, "stop_sequences: expected an array or null, got a string"),
        ({"model": 7}, '"model" must be a string, not a number.'),
    ],
)
def test_what_is_no_request_is_refused_with_the_place_and_the_reason(members: dict[str, Any], why: str) -> None:
    assert refusal(**members).startswith(why)


def test_a_request_without_a_model_says_so_first() -> None:
    with pytest.raises(ModelMissing):
        read_anthropic(b'{"messages":[]}')


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":"\xff"}', b'{"system":"\\ud83d"}', b"[" * 9999])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    for read in (read_anthropic, read_count):
        with pytest.raises(MalformedRequest):
            read(body)


# Fuzz

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_WORDS = st.sampled_from(
    [
        *("type", "text", "role", "content", "source", "data", "name", "input", "id", "user", "assistant", "system"),
        *("tool_use", "tool_result", "image", "document", "base64", "url", "https://x", "image/png", "thinking"),
        *("messages", "tools", "tool_choice", "input_schema", "any", "tool", "output_config", "format", "schema"),
        *("json_schema", "search_result", "media_type", "tool_use_id", "is_error", "max_tokens", "model", "m"),
    ]
)
_JSON = st.recursive(
    _LEAVES | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_GOOD: tuple[dict[str, Any], ...] = (
    text("a"),
    PICTURE,
    use("1"),
    result("1", [text("r"), PICTURE], is_error=True),
    {"type": "document", "source": {"type": "text", "data": "d"}, "title": "t"},
    {"type": "search_result", "source": "https://s", "title": "t", "content": [text("c")]},
    {"type": "thinking", "thinking": "t", "signature": "s"},
    {"type": "redacted_thinking", "data": "x"},
)


def _with_another(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The same, or with something else in some place."""
    other = st.tuples(st.sampled_from(sorted(good)), _JSON).map(lambda change: {**good, change[0]: change[1]})
    return st.just(good) | other


_TURNS = st.builds(
    turn, st.sampled_from(["user", "assistant", "system"]), st.sampled_from(_GOOD).flatmap(_with_another)
)
_MEMBERS = _with_another({"tools": [tool("look")], "tool_choice": {"type": "auto"}, "thinking": {"type": "adaptive"}})


@settings(max_examples=60, deadline=None)
@given(_MEMBERS, st.lists(_TURNS, max_size=3).map(lambda turns: [user("a"), *turns]))
def test_any_json_is_read_or_refused_as_the_callers_fault(members: dict[str, Any], talk: list[Any]) -> None:
    body = msgspec.json.encode({"model": "m", "max_tokens": 1, "messages": talk, **members})
    for read in (read_anthropic, read_count):
        try:
            request = read(body)
        except CallerError:
            continue
        for need in request.needs:
            request.supply(need, b"data:image/png;base64,aGk=")
        for traits in ALL:
            assert isinstance(msgspec.json.decode(request.body(traits, "m", 100)), dict)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_refused_as_the_callers_fault(noise: bytes) -> None:
    whole = asked(system="x")
    for body in (noise, whole[:-20] + noise, whole.replace(b'"x"', b'"' + noise + b'"')):
        try:
            read_anthropic(body)
        except CallerError:
            continue
