"""What other translators got wrong, case by case, as reported or measured:

T1 litellm#25321, T2 litellm#32357, T3 litellm#25852, T4 litellm#29286, T5 litellm#34692, T6 litellm#13373,
T8 sglang#24294, T9 sglang#25876, T10 claude-code-router#1397, T11 claude-code-router#1725, T12 claude-code-router#198,
T13 OmniRoute#682, T14 9router#2248, T20 ollama#13949, T21 ogx#5521, T27 measured with Claude Code 2.1.197 (2026-11).
"""

import pytest
from tests.unit.dialects.anthropic_answering import answering, message, replied, shown, streamed
from tests.unit.dialects.anthropic_checker import checked, events_of, message_of
from tests.unit.dialects.chat_engine import CALLS_END, STOP, calling, chunk, piece, usage, usage_alone, whole
from tests.unit.dialects.stream import DONE, stream

from cortex.contract.error import EngineFailed, QueueFull, UpstreamBroken
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.anthropic_error import anthropic_type
from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.translating_tap import TranslatingTap

CALL = calling(piece('{"x":1}', "f", "a"))


@pytest.mark.parametrize(
    "chunks",
    [
        [calling(piece('{"x"', "f", "a")), calling(piece(":1}"))],
        [calling(piece("", "f", "a")), calling(piece(None)), calling(piece('{"x":1}'), finish="tool_calls")],
        [CALL],
        [calling(piece('{"x":1}', "f", "a"), finish="tool_calls")],
    ],
    ids=["begin in the first chunk", "only in the last chunk", "whole", "whole with the finish"],
)
def test_t1_arguments_are_never_lost(chunks: list[bytes]) -> None:
    assert shown(message(*chunks, CALLS_END)["content"]) == [("f", {"x": 1})]


def test_t2_reasoning_before_text_is_a_block_of_its_own_and_the_message_starts_once() -> None:
    found = streamed(chunk(reasoning="hm"), chunk(content="a"), STOP)
    assert found.count(b"event: message_start\n") == 1
    assert shown(message_of(found)["content"]) == [("thinking", "hm"), ("text", "a")]


@pytest.mark.parametrize(("first", "kind"), [(chunk(reasoning="hm"), "thinking"), (CALL, "tool_use")])
def test_t3_no_empty_text_block_comes_first(first: bytes, kind: str) -> None:
    start = events_of(streamed(chunk(role="assistant", content=""), first, STOP))[1]
    assert (start["index"], start["content_block"]["type"]) == (0, kind)


@pytest.mark.parametrize("none", [[], None])
def test_t4_text_beside_no_calls_is_text(none: list[object] | None) -> None:
    parts = [chunk(content=part, tool_calls=none) for part in ("Hel", "lo")]
    assert shown(message(*parts, STOP)["content"]) == [("text", "Hello")]


def test_t5_a_call_that_ends_with_stop_is_still_a_tool_use() -> None:
    assert message(CALL, STOP)["stop_reason"] == "tool_use"
    assert replied(whole("stop", tool_calls=[piece("{}", "f", "a")]))["stop_reason"] == "tool_use"


def test_t6_every_index_is_started_before_its_delta() -> None:
    other = calling(piece('{"x":2}', "g", "b", 1))
    found = events_of(streamed(chunk(reasoning="hm"), chunk(content="a"), CALL, other, chunk(content="b"), STOP))
    started: set[int] = set()
    for event in found:
        if event["type"] == "content_block_start":
            started.add(event["index"])
        assert event["type"] != "content_block_delta" or event["index"] in started
    assert started == {0, 1, 2, 3, 4}


def test_t8_a_line_break_between_calls_is_no_text_in_a_call() -> None:
    other = calling(piece('{"x":2}', "g", "b", 1))
    assert shown(message(CALL, chunk(content="\n"), other, CALLS_END)["content"]) == [("f", {"x": 1}), ("g", {"x": 2})]


def test_t9_cached_tokens_are_counted_once_and_errors_keep_their_status() -> None:
    found = message(chunk(content="a"), STOP, usage_alone(prompt=100, completion=2, cached=90))["usage"]
    assert found["input_tokens"] + found["cache_read_input_tokens"] == 100
    same = replied(whole("stop", {"usage": usage(100, 2, cached=90)}, content="a"))["usage"]
    assert (same["input_tokens"], same["cache_read_input_tokens"]) == (10, 90)
    assert anthropic_type(QueueFull(), 529) == "overloaded_error"


def test_t10_reasoning_and_then_a_call_are_two_blocks_of_two_types() -> None:
    found = message(chunk(reasoning_content="hm"), chunk(content="\n\n"), CALL, CALLS_END)
    assert shown(found["content"]) == [("thinking", "hm"), ("f", {"x": 1})]


def test_t11_reasoning_that_comes_again_has_an_index_of_its_own() -> None:
    found = message(chunk(reasoning="one"), CALL, chunk(reasoning="two"), chunk(content="a"), STOP)
    assert shown(found["content"]) == [("thinking", "one"), ("f", {"x": 1}), ("thinking", "two"), ("text", "a")]


def test_t12_a_stream_cut_at_any_byte_says_the_same() -> None:
    engine = stream(chunk(content="é €").replace(b"\\u00e9", "é".encode()), CALL, CALLS_END, DONE)
    expected = streamed(chunk(content="é €"), CALL, CALLS_END)
    for cut in range(1, len(engine)):
        tap = TranslatingTap(AnthropicWriter(answering()))
        assert tap.feed(engine[:cut], 0.0) + tap.feed(engine[cut:], 0.0) + tap.close() == expected


def test_t13_an_id_on_every_chunk_is_one_block() -> None:
    parts = [calling(piece(part, "f", "a")) for part in '{"x":1}']
    assert shown(message(*parts, CALLS_END)["content"]) == [("f", {"x": 1})]


def test_t14_two_streams_at_once_know_nothing_of_each_other() -> None:
    one, two = AnthropicWriter(answering()), AnthropicWriter(answering())
    out = {one: b"", two: b""}
    for payload in (chunk(content="a"), calling(piece('{"x"', "f", "a")), calling(piece(":1}")), CALLS_END):
        for writer in (one, two):
            out[writer] += writer.feed(payload)
    assert out[one] + one.end() == out[two] + two.end() == streamed(chunk(content="a"), CALL, CALLS_END)


def test_t20_a_sign_of_life_is_a_ping_that_may_come_before_anything() -> None:
    beats = ANTHROPIC.heartbeat("waiting for a slot", "claude-x") + ANTHROPIC.heartbeat("loading\nthe model", "m")
    assert [event["type"] for event in events_of(beats)] == ["ping", "ping"]
    assert shown(message_of(beats + streamed(chunk(content="a"), STOP))["content"]) == [("text", "a")]


def test_t21_a_message_always_has_a_stop_sequence() -> None:
    assert replied(whole(content="a"))["stop_sequence"] is None
    start, *_, delta, _ = events_of(streamed(chunk(content="a"), STOP))
    assert start["message"]["stop_sequence"] is delta["delta"]["stop_sequence"] is None


COMMAND = '{"command": "rm -rf /data/tmp"}'


@pytest.mark.parametrize("cut", range(1, len(COMMAND)))
def test_t27_a_cut_command_is_never_completed(cut: int) -> None:
    chunks = [calling(piece(COMMAND[:cut], "Bash", "a"))]
    at_length = message(*chunks, chunk("length"))
    assert (at_length["content"], at_length["stop_reason"]) == ([], "max_tokens")
    stopped = checked(streamed(*chunks, STOP))
    assert stopped.error is not None
    with pytest.raises(EngineFailed):
        replied(whole("stop", tool_calls=[piece(COMMAND[:cut], "Bash", "a")]))


def test_t27_a_call_that_is_cut_before_its_arguments_begin_is_dropped() -> None:
    for began in (calling(piece("", "Bash", "a")), calling(piece(None, "Ba", "a"))):
        at_length = message(began, chunk("length"))
        assert (at_length["content"], at_length["stop_reason"]) == ([], "max_tokens")
        assert shown(message(began, CALLS_END)["content"])[0][1] == {}
    assert replied(whole("length", tool_calls=[piece("", "Bash", "a")]))["content"] == []


def test_t27_a_stream_that_stops_within_a_call_is_an_error() -> None:
    writer = AnthropicWriter(answering())
    found = writer.feed(chunk(content="a")) + writer.feed(calling(piece(COMMAND[:20], "Bash", "a"))) + writer.end()
    assert b"tool_use" not in found
    assert checked(found + writer.fail(UpstreamBroken(), 502)).error is not None
