"""Who says what, and which result belongs to which call."""

from typing import Any

import pytest
from tests.unit.dialects.claude import LLAMACPP, assistant, messages, refusal, result, text, use, user


def roles(found: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["role"], message.get("tool_call_id", message["content"])) for message in found]


def test_results_stand_in_the_order_of_their_calls() -> None:
    found = messages(
        user("a"),
        assistant(use("1"), use("2"), use("3")),
        user(result("3", "r3"), result("1", "r1"), text("now"), result("2", "r2")),
    )
    assert [(message["role"], message["content"]) for message in found[2:]] == [
        ("tool", "r1"),
        ("tool", "r2"),
        ("tool", "r3"),
        ("user", "now"),
    ]
    assert [message["tool_call_id"] for message in found[2:5]] == ["1", "2", "3"]


def test_a_call_without_a_result_gets_an_empty_one() -> None:
    found = messages(user("a"), assistant(use("1"), use("2")), user(result("2", "r")))
    assert [(m["role"], m["content"], m["tool_call_id"]) for m in found[2:]] == [("tool", "", "1"), ("tool", "r", "2")]
    assert messages(user("a"), assistant(use("1")))[2:] == [{"role": "tool", "content": "", "tool_call_id": "1"}]
    assert roles(messages(user("a"), assistant(use("1")), user("b")))[2:] == [("tool", "1"), ("user", "b")]


def test_a_result_without_a_call_is_said_by_the_user() -> None:
    found = messages(user("a"), assistant("b"), user(result("9", "r"), text("c")))
    assert found[2:] == [{"role": "user", "content": "Result of tool call 9:\nr\nc"}]


def test_a_second_result_of_one_call_is_not_lost() -> None:
    found = messages(user("a"), assistant(use("1")), user(result("1", "r"), result("1", "again")))
    assert found[2:] == [
        {"role": "tool", "content": "r", "tool_call_id": "1"},
        {"role": "user", "content": "Result of tool call 1:\nagain"},
    ]


def test_calls_that_share_an_id_get_their_results_in_order() -> None:
    found = messages(user("a"), assistant(use("", "x"), use("", "y")), user(result("", "rx"), result("", "ry")))
    assert [message["content"] for message in found[2:]] == ["rx", "ry"]


def test_an_id_that_comes_back_in_a_later_turn_is_another_call() -> None:
    found = messages(
        user("a"), assistant(use("0")), user(result("0", "first")), assistant(use("0")), user(result("0", "second"))
    )
    assert [message["content"] for message in found if message["role"] == "tool"] == ["first", "second"]


def test_calls_and_results_may_be_spread_over_turns() -> None:
    found = messages(
        user("a"), assistant(use("1")), assistant(use("2")), user(result("2", "r2")), user(result("1", "r1"))
    )
    assert len(found[1]["tool_calls"]) == 2
    assert [message["content"] for message in found[2:]] == ["r1", "r2"]


def test_arguments_are_what_the_caller_sent() -> None:
    call = use("1", path="/tmp/ä", depth=1.5, deep={"a": [None]})
    found = messages(user("a"), assistant(call), user(result("1")))
    assert found[1]["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"path":"/tmp/ä","depth":1.5,"deep":{"a":[null]}}',
    }


@pytest.mark.parametrize("given", [{}, {"input": None}])
def test_a_call_without_arguments_has_an_empty_object(given: dict[str, Any]) -> None:
    found = messages(user("a"), assistant({"type": "tool_use", "id": "1", "name": "x"} | given), user(result("1")))
    assert found[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_call_must_have_a_name_and_an_object() -> None:
    talk = [user("a"), assistant({"type": "tool_use", "id": "1", "input": {}})]
    assert refusal(messages=talk) == "messages.1.content.0.name: missing, but required"
    talk = [user("a"), assistant({"type": "tool_use", "id": "1", "name": "x", "input": "rm"})]
    assert refusal(messages=talk) == "messages.1.content.0.input: must be an object"


def test_thoughts_between_calls_are_one_and_empty_ones_none() -> None:
    thought = {"type": "thinking", "signature": "s"}
    found = messages(
        user("a"),
        assistant(thought | {"thinking": "x"}, use("1"), thought | {"thinking": ""}, thought | {"thinking": "y"}),
        user(result("1")),
        traits=LLAMACPP,
    )
    assert found[1]["reasoning_content"] == "x\ny"


def test_a_turn_with_nothing_to_say_is_left_out() -> None:
    hidden = {"type": "thinking", "thinking": "", "signature": "s"}
    assert roles(messages(user("a"), assistant(hidden), user("b"))) == [("user", "a\n\nb")]
    assert roles(messages(user("a"), assistant(text("")), user("b"))) == [("user", "a\n\nb")]


def test_what_a_service_did_by_itself_is_left_out_and_a_summary_is_not() -> None:
    found = messages(
        user("a"),
        assistant(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "compaction", "content": "We talked."},
            {"type": "compaction", "content": None},
            text("b"),
        ),
        user("c"),
    )
    assert roles(found) == [("user", "a"), ("assistant", "We talked.\nb"), ("user", "c")]
