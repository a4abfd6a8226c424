"""Whole answers of Anthropic's dialect."""

import json
from typing import Any

import pytest
from tests.unit.dialects.anthropic_answering import answering, replied, shown
from tests.unit.dialects.chat_engine import piece, usage, whole

from cortex.contract.error import EngineBusy, EngineFailed, UpstreamBroken
from cortex.dialects.anthropic_answer import signature
from cortex.dialects.anthropic_reply import anthropic_reply
from cortex.dialects.chat_event import ChatEvent, Failed, Finished, Reasoned, Said


def test_a_whole_answer_has_every_member() -> None:
    counts = usage(100, 7, cached=80, reasoning=3)
    calls = [piece('{"x": 1}', "f", "call_1")]
    body = whole("tool_calls", {"usage": counts}, reasoning_content="hm", content="I see.", tool_calls=calls)
    assert replied(body) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": signature("hm")},
            {"type": "text", "text": "I see."},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 20,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 80,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
        },
    }


def test_an_answer_without_a_word_has_no_blocks() -> None:
    assert replied(whole(content=""))["content"] == []
    assert replied(whole(content=None))["stop_reason"] == "end_turn"


def test_thinking_that_was_not_asked_for_is_dropped() -> None:
    assert shown(replied(whole(reasoning="hm", content="a"), thinks=False)["content"]) == [("text", "a")]


def test_thinking_that_is_to_be_hidden_is_an_empty_block_with_a_signature() -> None:
    (block, _) = replied(whole(reasoning="hm", content="a"), hides_thinking=True)["content"]
    assert block == {"type": "thinking", "thinking": "", "signature": signature("hm")}


def test_where_one_call_was_wanted_the_others_are_dropped() -> None:
    calls = [piece("{}", "f", "a"), piece("{}", "g", "b", 1)]
    assert shown(replied(whole("tool_calls", tool_calls=calls), is_single_call=True)["content"]) == [("f", {})]
    cut = [piece("{}", "f", "a"), piece("{", "g", "b", 1)]
    assert shown(replied(whole("tool_calls", tool_calls=cut), is_single_call=True)["content"]) == [("f", {})]


def test_a_cut_call_at_the_length_is_dropped() -> None:
    message = replied(whole("length", content="a", tool_calls=[piece('{"command": "rm -rf /da', "f", "a")]))
    assert (shown(message["content"]), message["stop_reason"]) == ([("text", "a")], "max_tokens")


def test_a_cut_call_otherwise_makes_an_answer_useless() -> None:
    with pytest.raises(EngineFailed, match="must not be executed"):
        replied(whole("tool_calls", tool_calls=[piece('{"command": "rm -rf /da', "f", "a")]))


def test_an_answer_that_failed_or_has_no_end_is_raised() -> None:
    with pytest.raises(EngineBusy):
        anthropic_reply([Said("a"), Failed(EngineBusy())], answering())
    with pytest.raises(UpstreamBroken):
        anthropic_reply([Said("a")], answering())


def test_texts_that_follow_each_other_are_one_block_also_around_what_is_dropped() -> None:
    events = [Reasoned("h"), Reasoned("m"), Said("a"), Reasoned("x"), Said("b"), Finished(reason="stop")]
    assert [block["type"] for block in written(events)] == ["thinking", "text", "thinking", "text"]
    assert written(events, thinks=False) == [{"type": "text", "text": "ab"}]


def written(events: list[ChatEvent], **more: Any) -> Any:
    return json.loads(anthropic_reply(events, answering(**more)))["content"]


def test_arguments_are_given_on_as_the_engine_wrote_them() -> None:
    body = whole(tool_calls=[piece('{"n": 1.0, "b": [1e2]}', "f", "a")])
    assert json.dumps(replied(body)["content"][0]["input"]) == '{"n": 1.0, "b": [100.0]}'
