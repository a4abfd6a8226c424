"""Streams of Anthropic's dialect, row by row of what engines send."""

import json

import pytest
from tests.unit.dialects.anthropic_answering import answering, message, shown, streamed
from tests.unit.dialects.anthropic_checker import checked, events_of
from tests.unit.dialects.chat_engine import CALLS_END, STOP, calling, chunk, dumped, piece, usage, usage_alone

from cortex.contract.error import EngineFailed, UpstreamBroken, UpstreamTimeout
from cortex.dialects.anthropic_answer import signature
from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.usage import Usage

HELLO = chunk(content="Hello")
CALL = calling(piece('{"x":1}', "f", "a"))
CUT = calling(piece('{"command": "rm -rf /da', "f", "a"))


def types(stream: bytes) -> list[str]:
    return [event["type"] for event in events_of(stream)]


def test_an_answer_of_text_is_this_stream_to_the_byte() -> None:
    stream = streamed(chunk(role="assistant", content=None), HELLO, chunk(content=' "é"\n'), STOP, usage_alone())
    assert stream.decode() == (
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        '"role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        '{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"Hello"}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":" \\"é\\"\\n"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":4}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_nothing_is_said_before_the_first_content() -> None:
    writer = AnthropicWriter(answering())
    for silent in (chunk(role="assistant", content=""), chunk(tool_calls=[]), chunk(content="\n"), usage_alone()):
        assert writer.feed(silent) == b""
    assert types(writer.feed(HELLO)) == ["message_start", "content_block_start", "content_block_delta"]


def test_text_leaves_with_the_chunk_that_brought_it() -> None:
    writer = AnthropicWriter(answering())
    writer.feed(HELLO)
    assert types(writer.feed(chunk(content="a"))) == ["content_block_delta"]


def test_a_call_is_a_block_of_its_own_with_all_its_arguments_in_one_delta() -> None:
    stream = streamed(calling(piece("", "f", "a")), calling(piece('{"x"')), calling(piece(":1}")), CALLS_END)
    start, delta, stop = events_of(stream)[1:4]
    assert start["content_block"] == {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    assert delta["delta"] == {"type": "input_json_delta", "partial_json": '{"x":1}'}
    assert stop == {"type": "content_block_stop", "index": 0}


def test_thinking_is_signed_before_it_is_closed() -> None:
    stream = streamed(chunk(reasoning="h"), chunk(reasoning="m"), HELLO, STOP)
    deltas = [event["delta"] for event in events_of(stream) if event["type"] == "content_block_delta"]
    assert deltas[:3] == [
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": signature("hm")},
    ]


def test_each_thought_is_signed_for_itself() -> None:
    found = message(chunk(reasoning="one"), HELLO, chunk(reasoning="two"), STOP)["content"]
    assert [block.get("signature") for block in found] == [signature("one"), None, signature("two")]


def test_thinking_that_was_not_asked_for_is_dropped_and_starts_nothing() -> None:
    writer = AnthropicWriter(answering(thinks=False))
    assert writer.feed(chunk(reasoning="hm")) == b""
    assert shown(message(chunk(reasoning="hm"), HELLO, STOP, thinks=False)["content"]) == [("text", "Hello")]
    content = message(HELLO, chunk(reasoning="hm"), chunk(content="!"), STOP, thinks=False)["content"]
    assert shown(content) == [("text", "Hello!")]


def test_thinking_that_is_to_be_hidden_is_an_empty_block_with_a_signature() -> None:
    stream = streamed(chunk(reasoning="h"), chunk(reasoning="m"), HELLO, STOP, hides_thinking=True)
    assert b"thinking_delta" not in stream
    block = checked(stream).result()["content"][0]
    assert block == {"type": "thinking", "thinking": "", "signature": signature("hm")}


def test_usage_known_at_the_start_is_said_there_and_corrected_at_the_end() -> None:
    stream = streamed(
        chunk(None, {"usage": usage(9, 1, cached=4)}, content="a"), chunk("stop", {"usage": usage(9, 2, cached=4)})
    )
    start, *_, delta, _ = events_of(stream)
    assert (start["message"]["usage"]["input_tokens"], start["message"]["usage"]["output_tokens"]) == (5, 1)
    assert (delta["usage"]["cache_read_input_tokens"], delta["usage"]["output_tokens"]) == (4, 2)


@pytest.mark.parametrize("where", ["alone", "finish", "before"])
def test_usage_is_taken_wherever_it_stands(where: str) -> None:
    chunks = {
        "alone": [HELLO, STOP, usage_alone(prompt=8, completion=3)],
        "finish": [HELLO, chunk("stop", {"usage": usage(8, 3)})],
        "before": [HELLO, usage_alone(prompt=8, completion=3), STOP],
    }[where]
    found = message(*chunks)["usage"]
    assert (found["input_tokens"], found["output_tokens"]) == (8, 3)


def test_without_any_usage_the_counts_are_there_and_0() -> None:
    assert set(message(HELLO, STOP)["usage"].values()) == {0}


def test_the_writer_shows_usage_and_completeness_at_any_time() -> None:
    writer = AnthropicWriter(answering())
    assert (writer.usage, writer.is_complete, writer.failure) == (None, False, None)
    writer.feed(chunk("stop", {"usage": usage(8, 3)}, content="a"))
    assert (writer.usage, writer.is_complete) == (Usage(8, 3, 11), True)


def test_where_one_call_was_wanted_the_others_are_dropped() -> None:
    both = calling(piece("{}", "f", "a"), piece("{}", "g", "b", 1))
    assert shown(message(both, CALLS_END, is_single_call=True)["content"]) == [("f", {})]
    cut = calling(piece("{}", "f", "a"), piece("{", "g", "b", 1))
    assert shown(message(cut, CALLS_END, is_single_call=True)["content"]) == [("f", {})]


def test_ids_that_clients_cannot_use_are_replaced() -> None:
    pieces = [
        piece("{}", "f", "call.1", 0),
        piece("{}", "g", "call_2", 1),
        piece("{}", "h", "call_2", 2),
        piece("{}", "i", None, 3),
    ]
    ids = [block["id"] for block in message(calling(*pieces), CALLS_END)["content"]]
    assert ids == ["toolu_1", "call_2", "toolu_3", "toolu_4"]


def test_a_stop_sequence_is_told_where_the_engine_says_it() -> None:
    finish = dumped({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]})
    found = message(HELLO, finish, stop=("END",))
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")


def test_a_full_context_is_told() -> None:
    found = message(HELLO, chunk("length", {"usage": usage(900, 124)}), context=1024, max_tokens=4000)
    assert found["stop_reason"] == "model_context_window_exceeded"


def test_a_finish_without_a_word_is_a_message_without_blocks() -> None:
    found = message(STOP)
    assert (found["content"], found["stop_reason"]) == ([], "end_turn")


def test_a_stream_that_breaks_off_has_no_end_until_it_is_told_why() -> None:
    writer = AnthropicWriter(answering())
    stream = writer.feed(HELLO)
    assert writer.end() == b""
    stream += writer.fail(UpstreamBroken("The engine broke off."), 502)
    assert checked(stream).error == {"type": "api_error", "message": "The engine broke off."}
    assert writer.feed(HELLO) == writer.end() == writer.fail(UpstreamTimeout(), 504) == b""


def test_a_stream_that_was_ended_with_an_error_has_no_other_end() -> None:
    writer = AnthropicWriter(answering())
    stream = writer.feed(HELLO) + writer.feed(STOP) + writer.fail(UpstreamTimeout(), 504)
    assert writer.end() == b""
    assert checked(stream).error is not None


def test_a_failure_before_the_first_word_is_an_error_alone() -> None:
    assert types(AnthropicWriter(answering()).fail(UpstreamTimeout(), 504)) == ["error"]


def test_after_the_end_there_is_nothing() -> None:
    writer = AnthropicWriter(answering())
    writer.feed(STOP)
    assert types(writer.end()) == ["message_start", "message_delta", "message_stop"]
    assert writer.end() == writer.feed(HELLO) == writer.fail(UpstreamBroken(), 502) == b""
    assert writer.is_complete


@pytest.mark.parametrize("before", [[], [HELLO], [CALL], [chunk(reasoning="hm")]])
def test_an_error_of_the_engine_ends_the_stream_wherever_it_stands(before: list[bytes]) -> None:
    writer = AnthropicWriter(answering())
    stream = b"".join(map(writer.feed, before)) + writer.feed(b'{"error":{"message":"out of memory","code":500}}')
    error = checked(stream).error
    assert error is not None
    assert error["type"] == "api_error"
    assert "out of memory" in error["message"]
    assert isinstance(writer.failure, EngineFailed)
    assert not writer.is_complete
    assert writer.feed(STOP) == writer.end() == b""


def test_an_error_of_the_engine_keeps_its_kind() -> None:
    stream = streamed(HELLO, b'{"error":{"message":"slots busy","type":"unavailable_error","code":503}}')
    error = checked(stream).error
    assert error is not None
    assert error["type"] == "overloaded_error"


def test_a_cut_call_at_the_length_is_dropped() -> None:
    found = message(HELLO, CUT, chunk("length"))
    assert (shown(found["content"]), found["stop_reason"]) == ([("text", "Hello")], "max_tokens")


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_a_cut_call_otherwise_is_an_error_and_never_a_block(finish: str) -> None:
    writer = AnthropicWriter(answering())
    stream = writer.feed(HELLO) + writer.feed(CUT) + writer.feed(chunk(finish)) + writer.end()
    checker = checked(stream)
    assert checker.error is not None
    assert "must not be executed" in checker.error["message"]
    assert b"tool_use" not in stream
    assert b"rm -rf" not in stream
    assert isinstance(writer.failure, EngineFailed)
    assert not writer.is_complete


def test_a_name_with_quotes_is_still_json() -> None:
    assert shown(message(calling(piece('{"a":"\\"\\n"}', 'f"\n', "a")), CALLS_END)["content"]) == [
        ('f"\n', {"a": '"\n'})
    ]


def test_a_large_call_comes_out_whole() -> None:
    text = json.dumps({"content": "x}\n" * 20000})
    parts = [calling(piece(text[start : start + 50])) for start in range(0, len(text), 50)]
    found = message(calling(piece("", "Write", "a")), *parts, CALLS_END)
    assert shown(found["content"]) == [("Write", json.loads(text))]
