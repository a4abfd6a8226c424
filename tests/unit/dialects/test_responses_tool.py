"""Every tool that can be told is a function for the engine, and calls of it come back as what the client knows."""

from typing import Any

import pytest
from tests.unit.dialects.responses_scene import CRM, PATCH, SCHEMA, WEATHER, refusal, sent, translated

from cortex.contract.error import MalformedRequest
from cortex.dialects.responses_tool import custom_input

NAMED = {"type": "function", "function": {"name": "weather"}}


def functions(*tools: Any, **members: Any) -> list[dict[str, Any]]:
    return [tool["function"] for tool in sent(tools=list(tools), **members).get("tools", [])]


def names(*tools: Any, **members: Any) -> list[str]:
    return [function["name"] for function in functions(*tools, **members)]


def test_a_flat_function_is_a_function() -> None:
    assert functions(WEATHER) == [
        {"name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": False}
    ]


def test_a_function_needs_neither_description_nor_parameters() -> None:
    assert functions({"type": "function", "name": "f", "parameters": None, "strict": None}) == [{"name": "f"}]


def test_a_custom_tool_is_a_function_of_one_string() -> None:
    (function,) = functions(PATCH)
    assert function["name"] == "apply_patch"
    assert function["description"] == "Patches."
    assert function["parameters"]["required"] == ["input"]
    assert function["parameters"]["properties"]["input"]["type"] == "string"


def test_the_grammar_of_a_custom_tool_is_told_in_words() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch"}
    (function,) = functions({**PATCH, "format": grammar})
    assert function["description"] == ("Patches.\n\nThe input must follow this lark grammar:\nstart: begin_patch")


def test_a_custom_tool_of_free_text_has_no_grammar_to_tell() -> None:
    assert functions({**PATCH, "format": {"type": "text"}})[0]["description"] == "Patches."


def test_tools_in_a_namespace_bear_its_name_and_what_it_is_for() -> None:
    (function,) = functions(CRM)
    assert function["name"] == "crm__find"
    assert function["description"] == "Customers.\n\nTells it."


@pytest.mark.parametrize(("namespace", "name"), [("mcp__crm__", "mcp__crm__find"), ("my crm.v2", "my_crm_v2__find")])
def test_a_namespace_makes_a_name_that_engines_take(namespace: str, name: str) -> None:
    assert names({**CRM, "name": namespace}) == [name]


def test_no_two_tools_have_one_name() -> None:
    assert names(CRM, {**WEATHER, "name": "crm__find"}, PATCH, PATCH) == [
        "crm__find",
        "crm__find_2",
        "apply_patch",
        "apply_patch_2",
    ]


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "file_search", "code_interpreter", "new_thing"])
def test_a_tool_that_the_service_would_run_is_left_out_by_name(kind: str) -> None:
    assert names(WEATHER, {"type": kind, "container": 3}) == ["weather"]
    assert translated(tools=[WEATHER, {"type": kind}]).dropped == (kind,)


def test_a_request_all_of_whose_tools_are_left_out_is_refused() -> None:
    error = refusal(tools=[{"type": "web_search"}])
    assert error.details["param"] == "tools"
    assert "web_search is run by OpenAI's service" in error.message


@pytest.mark.parametrize("kind", ["mcp", "local_shell", "shell", "apply_patch", "computer", "computer_use_preview"])
def test_a_tool_that_the_client_counts_on_is_refused(kind: str) -> None:
    error = refusal(tools=[WEATHER, {"type": kind}])
    assert error.details["param"] == "tools.1"
    assert f"{kind!r} are not supported" in error.message


@pytest.mark.parametrize(
    ("tool", "place", "words"),
    [
        ({"name": "f"}, ".type", "expected function, custom or namespace"),
        ({"type": "function", "function": {"name": "f"}}, ".name", "missing, but required"),
        ({"type": "function", "name": ""}, ".name", "expected a name"),
        ({"type": "function", "name": "f", "parameters": [1]}, ".parameters", "expected a JSON schema"),
        ({"type": "function", "name": "f", "description": 1}, ".description", "expected a string"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "function"}]}, ".tools.0.name", "missing"),
        ({"type": "namespace", "name": "n", "tools": 1}, ".tools", "expected an array"),
        (4, "", "expected an object"),
    ],
)
def test_a_tool_that_is_not_as_it_must_be_is_refused_by_its_place(tool: object, place: str, words: str) -> None:
    error = refusal(tools=[WEATHER, tool])
    assert isinstance(error, MalformedRequest)
    assert error.details["param"] == f"tools.1{place}"
    assert words in error.message


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_a_mode_of_choice_is_told(mode: str) -> None:
    assert sent(tools=[WEATHER], tool_choice=mode)["tool_choice"] == mode


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_without_tools_there_is_no_choice(mode: str) -> None:
    assert "tool_choice" not in sent(tools=[], tool_choice=mode)


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "function", "name": "weather"}, "weather"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "find"}, "crm__find"),
        ({"type": "function", "name": "find", "namespace": "crm"}, "crm__find"),
    ],
)
def test_a_tool_that_is_chosen_is_the_function_that_stands_in_for_it(choice: dict[str, str], name: str) -> None:
    body = sent(tools=[WEATHER, PATCH, CRM], tool_choice=choice)
    assert body["tool_choice"] == {"type": "function", "function": {"name": name}}


def test_of_allowed_tools_only_those_are_told() -> None:
    allowed = [{"type": "custom", "name": "apply_patch"}, {"type": "function", "name": "find"}]
    body = sent(
        tools=[WEATHER, PATCH, CRM], tool_choice={"type": "allowed_tools", "mode": "required", "tools": allowed}
    )
    assert [tool["function"]["name"] for tool in body["tools"]] == ["apply_patch", "crm__find"]
    assert body["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({"type": "function", "name": "other"}, "tool_choice.name"),
        ({"type": "function"}, "tool_choice.name"),
        ({"type": "function", "name": "find", "namespace": "x"}, "tool_choice.name"),
        ({"type": "web_search"}, "tool_choice.type"),
        ({"type": "allowed_tools", "tools": [{"type": "mcp"}]}, "tool_choice.tools.0.type"),
        ({"type": "allowed_tools", "mode": "sometimes"}, "tool_choice.mode"),
        ("sometimes", "tool_choice"),
        (7, "tool_choice"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(choice: object, param: str) -> None:
    assert refusal(tools=[WEATHER, CRM, {"type": "web_search"}], tool_choice=choice).details["param"] == param


def test_tools_that_come_as_an_item_are_tools() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [PATCH]}
    body = sent(tools=[WEATHER], input=[{"role": "user", "content": "hi"}, item])
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "apply_patch"]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"input":"a\\nb"}', "a\nb"),
        ('{"input":"a","why":"b"}', "a"),
        ('{"patch":"a"}', "a"),
        ('{"patch":"a","line":3}', "a"),
        ('{"a":"x","b":"y"}', '{"a":"x","b":"y"}'),
        ('{"input":3}', '{"input":3}'),
        ("{}", "{}"),
    ],
)
def test_the_input_of_a_custom_tool_is_found_in_what_the_model_calls_it(arguments: str, value: str) -> None:
    assert custom_input(arguments) == value
