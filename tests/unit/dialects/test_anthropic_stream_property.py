"""Whatever an engine says, and however, the client's stream is well-formed and says the same as a whole answer.

An answer is drawn as what it means (thoughts, text, calls), then written as an engine might: cut anywhere, numbered and
named in any way that engines are known for, with chunks of nothing in between.
"""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.anthropic_answering import answering, message, replied, shown
from tests.unit.dialects.anthropic_checker import Checker, checked, events_of
from tests.unit.dialects.chat_engine import chunk, dumped, piece, usage, usage_alone, whole

from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.translating_tap import TranslatingTap

DRAWN = settings(max_examples=40, derandomize=True, deadline=None, database=None)

WORDS = st.text(st.sampled_from('ab {}"\\\n<é€😀'), min_size=1, max_size=8).map(lambda text: f"x{text}.")
ARGUMENTS = st.dictionaries(st.sampled_from("abc"), WORDS | st.integers(0, 9) | st.none(), max_size=2)
CALLS = st.lists(st.tuples(st.sampled_from(["f", "get_weather"]), ARGUMENTS), min_size=1, max_size=3)
SEGMENT = st.tuples(st.just("thinking"), WORDS) | st.tuples(st.just("text"), WORDS) | st.tuples(st.just("calls"), CALLS)

NOTHING = st.sampled_from(
    [
        chunk(role="assistant", content=""),
        chunk(content=None),
        chunk(tool_calls=[]),
        chunk(tool_calls=None, reasoning_content=""),
        b'{"choices":[]}',
        b"{}",
        b'{"choices":[{"index":1,"delta":{"content":"another choice"}}]}',
    ]
)
STYLES = ["fragments", "whole", "id on each", "zero", "no index", "object", "twice", "fenced", "interleaved"]


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces, perhaps through the middle of a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted(draw(st.sets(st.integers(1, max(1, len(units) // 2 - 1)), max_size=4)))
    edges = [0, *(2 * place for place in places), len(units)]
    parts = [units[start:end] for start, end in pairwise(edges)]
    return [part.decode("utf-16-le", "surrogatepass") for part in parts if part]


@st.composite
def written_calls(draw: st.DrawFn, calls: list[Any], first: int) -> list[bytes]:
    """Some calls as an engine of a certain style sends them; ``first`` is the index of the first."""
    style = draw(st.sampled_from(STYLES))
    each = [draw(written_call(style, name, given, first + place)) for place, (name, given) in enumerate(calls)]
    if style != "interleaved":
        blanks = chunk(content="\n")
        return [payload for payloads in each for payload in (*payloads, *([blanks] if draw(st.booleans()) else []))]
    mixed = [payloads[0] for payloads in each]
    rest = [payloads[1:] for payloads in each]
    while any(rest):
        mixed.append(draw(st.sampled_from([payloads for payloads in rest if payloads])).pop(0))
    return mixed


@st.composite
def written_call(draw: st.DrawFn, style: str, name: str, given: dict[str, Any], number: int) -> list[bytes]:
    text, id = json.dumps(given), f"call_{number}"
    index = {"zero": 0, "no index": None}.get(style, number)
    if style == "object":
        return [chunk(tool_calls=[piece(given, name, id, index)])]
    if style == "twice":
        text = json.dumps(text)
    elif style == "fenced":
        text = f"```json\n{text}\n```"
    if style == "whole":
        return [chunk(tool_calls=[piece(text, name, id, index)])]
    again = {"name": name, "id": id} if style == "id on each" else {}
    parts = [chunk(tool_calls=[piece(part, index=index, **again)]) for part in draw(cut(text))]
    return [chunk(tool_calls=[piece("", name, id, index)]), *parts]


@st.composite
def written(draw: st.DrawFn, segments: list[Any], finish: str = "stop") -> list[bytes]:
    """A stream that says this."""
    field = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    payloads: list[bytes] = []
    begun = 0
    for kind, value in segments:
        if kind == "calls":
            payloads += draw(written_calls(value, begun))
            begun += len(value)
        else:
            name = field if kind == "thinking" else "content"
            payloads += [chunk(**{name: part}) for part in draw(cut(value))]
    counted = draw(st.sampled_from(["alone", "finish", "none"]))
    payloads.append(chunk(finish, {"usage": usage()} if counted == "finish" else None))
    if counted == "alone":
        payloads.append(usage_alone())
    for _ in range(draw(st.integers(0, 3))):
        payloads.insert(draw(st.integers(0, len(payloads))), draw(NOTHING))
    return payloads


def meant(segments: list[Any]) -> list[Any]:
    """The blocks that a client is to see."""
    blocks: list[Any] = []
    for kind, value in segments:
        if kind == "calls":
            blocks += value
        elif blocks and blocks[-1][0] == kind:
            blocks[-1] = (kind, blocks[-1][1] + value)
        else:
            blocks.append((kind, value))
    return blocks


def stripped(blocks: list[Any]) -> list[Any]:
    """Without blanks at the ends of texts: an engine's line break before a text that follows a call is part of it."""
    return [(kind, value.strip()) if isinstance(value, str) else (kind, value) for kind, value in blocks]


@DRAWN
@given(st.data(), st.lists(SEGMENT, max_size=5))
def test_what_was_said_is_what_the_client_assembles(data: st.DataObject, segments: list[Any]) -> None:
    found = message(*data.draw(written(segments)))
    assert stripped(shown(found["content"])) == stripped(meant(segments))
    assert found["stop_reason"] == ("tool_use" if any(kind == "calls" for kind, _ in segments) else "end_turn")


@DRAWN
@given(st.data(), WORDS | st.none(), WORDS | st.none(), CALLS | st.none())
def test_a_stream_says_the_same_as_a_whole_answer(
    data: st.DataObject, thought: str | None, text: str | None, calls: list[Any] | None
) -> None:
    segments = [("thinking", thought), ("text", text), ("calls", calls)]
    found = message(*data.draw(written([segment for segment in segments if segment[1]])))
    entries = [piece(json.dumps(given), name, f"call_{at}", at) for at, (name, given) in enumerate(calls or ())]
    same = replied(whole("stop", reasoning_content=thought, content=text, tool_calls=entries or None))
    assert found["content"] == same["content"]
    assert found["stop_reason"] == same["stop_reason"]


@DRAWN
@given(st.data(), st.lists(SEGMENT, max_size=4))
def test_a_stream_cut_after_any_chunk_is_right_up_to_there_and_then_an_error(
    data: st.DataObject, segments: list[Any]
) -> None:
    payloads = data.draw(written(segments))
    writer = AnthropicWriter(answering())
    out = b"".join(map(writer.feed, payloads[: data.draw(st.integers(0, len(payloads)))]))
    checker = Checker()
    for event in events_of(out):
        checker.take(event)
    blocks = shown(checker.message["content"]) if checker.message else []
    wanted = meant(segments)
    for block, whole_block in zip(blocks, wanted, strict=False):
        is_text = isinstance(whole_block[1], str)
        assert whole_block[1].startswith(block[1].lstrip()) if is_text else block == whole_block


@DRAWN
@given(st.data(), st.lists(SEGMENT, max_size=3))
def test_bytes_cut_anywhere_say_the_same(data: st.DataObject, segments: list[Any]) -> None:
    end = data.draw(st.sampled_from([b"\n\n", b"\r\n\r\n"]))
    payloads = data.draw(written(segments))
    stream = b"".join(b"data: " + payload + end for payload in [*payloads, b"[DONE]"])
    places = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=5)))
    tap = TranslatingTap(AnthropicWriter(answering()))
    edges = [0, *places, len(stream)]
    found = b"".join([tap.feed(stream[start:stop], 0.0) for start, stop in pairwise(edges)])
    assert checked(found + tap.close()).result() == message(*payloads)


KEYS = st.sampled_from(
    [
        "choices",
        "delta",
        "message",
        "content",
        "reasoning",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "index",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "{", "{}", '{"x":1}', "\n", "stop"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {}, optional={"index": VALUES, "id": VALUES, "function": st.dictionaries(KEYS, VALUES, max_size=3) | VALUES}
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": VALUES,
        "reasoning": VALUES,
        "tool_calls": st.lists(ENTRY, max_size=3) | VALUES,
        "function_call": VALUES,
    },
)
CHOICE = st.fixed_dictionaries({"delta": DELTA}, optional={"finish_reason": VALUES, "index": VALUES})
GARBAGE = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(CHOICE, max_size=2) | VALUES, "usage": VALUES, "error": VALUES}
)


@DRAWN
@given(st.lists(GARBAGE, max_size=6))
def test_no_engine_can_make_the_stream_ill_formed(chunks: list[Any]) -> None:
    writer = AnthropicWriter(answering())
    out = b"".join([writer.feed(dumped(each)) for each in [*chunks, {"choices": [{"finish_reason": "stop"}]}]])
    checker = checked(out + writer.end())
    assert (checker.error is None) == (writer.failure is None)
    if checker.error is None:
        checker.result()
