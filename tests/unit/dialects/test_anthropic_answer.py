"""Stop reasons, usage, ids and signatures of Anthropic's dialect."""

import base64
import re
from typing import Any

import pytest
from tests.unit.dialects.anthropic_answering import answering

from cortex.dialects.anthropic_answer import Answering, CallIds, Stop, choose_stop, is_broken, signature, usage_members
from cortex.dialects.chat_event import Counted, Finished
from cortex.dialects.usage import Usage


def counted(prompt: int | None, completion: int | None, **more: Any) -> Counted:
    return Counted(usage=Usage(prompt, completion, None), **more)


@pytest.mark.parametrize(
    ("reason", "has_called", "expected"),
    [
        ("stop", False, "end_turn"),
        ("eos", False, "end_turn"),
        ("stop", True, "tool_use"),
        ("eos", True, "tool_use"),
        ("tool_calls", True, "tool_use"),
        ("function_call", True, "tool_use"),
        ("tool_calls", False, "end_turn"),
        ("function_call", False, "end_turn"),
        ("length", False, "max_tokens"),
        ("length", True, "max_tokens"),
        ("content_filter", False, "refusal"),
        ("content_filter", True, "refusal"),
        ("something new", False, "end_turn"),
    ],
)
def test_each_finish_reason_has_its_stop_reason(reason: str, has_called: bool, expected: str) -> None:
    assert choose_stop(Finished(reason=reason), None, answering(), has_called=has_called) == Stop(reason=expected)


def test_a_stop_sequence_that_the_engine_names_and_the_caller_gave_is_told() -> None:
    finished = Finished(reason="stop", stop="END")
    stop = choose_stop(finished, None, answering(stop=("X", "END")), has_called=False)
    assert stop.members() == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert choose_stop(finished, None, answering(stop=("X",)), has_called=False) == Stop(reason="end_turn")
    assert choose_stop(finished, None, answering(stop=("END",)), has_called=True) == Stop(reason="tool_use")


@pytest.mark.parametrize(
    ("prompt", "completion", "max_tokens", "context", "expected"),
    [
        (900, 124, 1000, 1024, "model_context_window_exceeded"),
        (900, 112, 1000, 1024, "model_context_window_exceeded"),
        (900, 124, None, 1024, "model_context_window_exceeded"),
        (900, 124, 124, 1024, "max_tokens"),
        (900, 50, 1000, 1024, "max_tokens"),
        (900, 124, 1000, None, "max_tokens"),
        (None, 124, 1000, 1024, "max_tokens"),
        (900, None, 1000, 1024, "max_tokens"),
    ],
)
def test_a_full_context_is_told_from_the_callers_own_limit(
    prompt: int | None, completion: int | None, max_tokens: int | None, context: int | None, expected: str
) -> None:
    asked = answering(max_tokens=max_tokens, context=context)
    assert choose_stop(Finished(reason="length"), counted(prompt, completion), asked, has_called=False).reason == (
        expected
    )


def test_a_refusal_has_details() -> None:
    assert Stop(reason="refusal").members()["stop_details"] == {"type": "refusal"}
    assert "stop_details" not in Stop(reason="end_turn").members()


@pytest.mark.parametrize(
    ("reason", "has_cut_call", "has_called", "is_single_call", "expected"),
    [
        ("stop", True, False, False, True),
        ("tool_calls", True, True, False, True),
        ("tool_calls", True, False, True, True),
        ("tool_calls", True, True, True, False),
        ("length", True, False, False, False),
        ("stop", False, False, False, False),
    ],
)
def test_a_cut_call_spoils_an_answer_unless_its_length_was_up_or_nobody_wanted_it(
    reason: str, has_cut_call: bool, has_called: bool, is_single_call: bool, expected: bool
) -> None:
    finished = Finished(reason=reason, has_cut_call=has_cut_call)
    assert is_broken(finished, has_called=has_called, is_single_call=is_single_call) is expected


def test_cached_tokens_are_not_counted_twice() -> None:
    assert usage_members(counted(100, 7, cached_tokens=80, reasoning_tokens=3)) == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 80,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }


@pytest.mark.parametrize("unknown", [None, counted(None, None), counted(None, None, cached_tokens=5)])
def test_what_the_engine_did_not_count_is_0(unknown: Counted | None) -> None:
    assert set(usage_members(unknown).values()) == {0}


def test_an_engine_that_counts_more_cached_than_prompt_gives_no_negative_input() -> None:
    members = usage_members(counted(10, 1, cached_tokens=12))
    assert (members["input_tokens"], members["cache_read_input_tokens"]) == (0, 10)


@pytest.mark.parametrize("id", ["call_1", "toolu_01AbC-d", "a" * 128])
def test_an_id_that_clients_can_use_is_kept(id: str) -> None:
    assert CallIds(Answering(model="m", new_id=lambda prefix: prefix + "new")).take(id) == id


@pytest.mark.parametrize("id", ["", "call_abc.1:2", "a b", "é", "a" * 129, "a\n"])
def test_any_other_id_is_replaced(id: str) -> None:
    assert CallIds(Answering(model="m", new_id=lambda prefix: prefix + "new")).take(id) == "toolu_new"


def test_an_id_that_the_conversation_has_already_is_replaced() -> None:
    ids = CallIds(answering(call_ids=frozenset({"call_0"})))
    assert ids.take("call_0") == "toolu_1"
    assert ids.take("call_1") == "call_1"


def test_an_id_is_used_once() -> None:
    ids = CallIds(Answering(model="m", new_id=lambda prefix: prefix + "new"))
    assert [ids.take("a"), ids.take("b"), ids.take("a")] == ["a", "b", "toolu_new"]


def test_a_signature_is_recognisable_and_the_same_for_the_same_thought() -> None:
    assert signature("hm") == signature("hm")
    assert signature("hm") != signature("hm.")
    assert base64.b64decode(signature("hm é")).startswith(b"cortex:")
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", signature(""))
