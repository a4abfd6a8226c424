"""Items become turns that engines' templates take: results right after their calls, one system message at the top."""

from typing import Any

import pytest
from tests.unit.dialects.responses_scene import CRM, assistant, call, messages, output, refusal, said, user

from cortex.dialects.engine import traits_of


def roles(told: list[dict[str, Any]]) -> list[str]:
    return [message["role"] for message in told]


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def results(told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["tool_call_id"], message["content"]) for message in told if message["role"] == "tool"]


def test_instructions_and_what_developers_say_first_are_one_system_message() -> None:
    told = messages(said("developer", "b"), said("system", "c"), user("hi"), instructions="a")
    assert told == [{"role": "system", "content": "a\n\nb\n\nc"}, {"role": "user", "content": "hi"}]


def test_what_a_developer_says_later_does_not_change_the_beginning_of_the_prompt() -> None:
    first = messages(said("developer", "rules"), user("hi"), assistant("ho"), user("go on"))
    later = messages(
        said("developer", "rules"), user("hi"), assistant("ho"), user("go on"), said("developer", "be brief")
    )
    assert later[:-1] == first[:-1]
    assert later[-1] == {
        "role": "user",
        "content": "go on\n\n<system-reminder>\nbe brief\n</system-reminder>",
    }


def test_an_assistants_items_in_a_row_are_one_turn() -> None:
    told = messages(
        user("hi"),
        thought("hm"),
        assistant("I look."),
        call("c1"),
        call("c2"),
        output("c1", "1"),
        output("c2", "2"),
        traits=traits_of("llamacpp"),
    )
    assert roles(told) == ["user", "assistant", "tool", "tool"]
    assert told[1]["content"] == "I look."
    assert told[1]["reasoning_content"] == "hm"
    assert [each["id"] for each in told[1]["tool_calls"]] == ["c1", "c2"]


def test_calls_one_after_the_other_are_turns_one_after_the_other() -> None:
    told = messages(user("hi"), call("c1"), output("c1"), call("c2"), output("c2"), assistant("done"), user("ok"))
    assert roles(told) == ["user", "assistant", "tool", "assistant", "tool", "assistant", "user"]


def test_results_come_in_the_order_of_the_calls() -> None:
    told = messages(call("c1"), call("c2"), output("c2", "2"), output("c1", "1"))
    assert results(told) == [("c1", "1"), ("c2", "2")]


def test_what_a_user_says_between_a_call_and_its_result_comes_after_the_result() -> None:
    told = messages(call("c1"), user("are you there?"), output("c1", "1"))
    assert roles(told) == ["assistant", "tool", "user"]
    assert results(told) == [("c1", "1")]


def test_a_call_without_a_result_gets_an_empty_one() -> None:
    told = messages(user("hi"), call("c1"), call("c2"), output("c2", "2"), user("and?"))
    assert results(told) == [("c1", ""), ("c2", "2")]


@pytest.mark.parametrize("items", [[output("c9", "lost")], [call("c9"), output("c9"), output("c9", "lost")]])
def test_a_result_without_a_call_is_told_by_the_user(items: list[Any]) -> None:
    told = messages(user("hi"), *items, user("and?"))
    assert "Result of the tool call c9:\nlost\n\nand?" in told[-1]["content"]


def test_ids_that_are_used_again_in_a_later_turn_are_not_confused() -> None:
    told = messages(call("c"), user("stop"), call("c"), output("c", "second"), call("c"), output("c", "third"))
    assert results(told) == [("c", ""), ("c", "second"), ("c", "third")]


def test_a_call_of_a_tool_in_a_namespace_bears_the_functions_name() -> None:
    items = [call("c1", "find", namespace="crm"), output("c1")]
    assert messages(*items, tools=[CRM])[0]["tool_calls"][0]["function"]["name"] == "crm__find"
    assert messages(*items)[0]["tool_calls"][0]["function"]["name"] == "crm__find"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("", "{}"), ('{"a": 1}', '{"a": 1}'), ('{"a": "b', '{"arguments":"{\\"a\\": \\"b"}'), ("5", '{"arguments":"5"}')],
)
def test_arguments_of_a_call_are_always_an_object(arguments: str, told: str) -> None:
    found = messages(call("c1", arguments=arguments), output("c1"))
    assert found[0]["tool_calls"][0]["function"]["arguments"] == told


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    assert roles(messages(user("hi"), thought("hm"), user("ho"))) == ["user"]


@pytest.mark.parametrize("items", [[], [thought("hm")], [user("")], [{"type": "web_search_call"}]])
def test_a_conversation_in_which_nothing_is_said_is_refused(items: list[Any]) -> None:
    assert refusal(input=items).message == "input: there is nothing in it to answer"
