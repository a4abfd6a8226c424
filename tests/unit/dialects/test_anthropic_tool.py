"""Tools and their choice."""

from typing import Any

import pytest
from tests.unit.dialects.claude import refusal, sent, tool

HOSTED = [
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
    {"type": "web_fetch_20250910", "name": "web_fetch"},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
    {"type": "memory_20250818", "name": "memory"},
    {"type": "mcp_toolset", "mcp_server_name": "x"},
    {"type": "something_new_2027", "name": "new", "input_schema": None},
]


def test_a_tool_is_a_function_and_what_concerns_the_service_is_left_out() -> None:
    entry = tool("look", properties={"where": {"type": "string"}}) | {
        "type": "custom",
        "strict": True,
        "cache_control": {"type": "ephemeral"},
        "defer_loading": True,
        "eager_input_streaming": True,
        "input_examples": [{}],
        "allowed_callers": ["direct"],
    }
    assert sent(tools=[entry])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Does look.",
                "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
                "strict": True,
            },
        }
    ]


def test_no_tools_are_no_member_and_neither_is_their_choice() -> None:
    body = sent(tools=[], tool_choice={"type": "any"})
    assert "tools" not in body
    assert "tool_choice" not in body


def test_tools_that_the_service_runs_are_left_out() -> None:
    assert sent(tools=[*HOSTED, tool("look")]) == sent(tools=[tool("look")])


@pytest.mark.parametrize("hosted", HOSTED, ids=lambda entry: entry["type"])
def test_a_request_that_depends_on_such_a_tool_is_refused(hosted: dict[str, Any]) -> None:
    name = hosted.get("name", hosted["type"])
    assert refusal(tools=[hosted]) == f"tools: {name}: tools that Anthropic's service runs are not available here"
    choice = {"type": "tool", "name": name}
    assert refusal(tools=[hosted, tool("look")], tool_choice=choice).startswith(f"tool_choice.name: {name}: tools that")


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_20251124"])
def test_a_tool_that_only_anthropics_models_know_is_refused_with_the_way_out(kind: str) -> None:
    assert refusal(tools=[tool("look"), {"type": kind, "name": "x"}]) == (
        f'tools.1.type: "{kind}" is not supported: give the tool a name, a description and an input_schema of its own'
    )


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"input_schema": {}}, "tools.0.name: missing, but required"),
        ({"name": "", "input_schema": {}}, "tools.0.name: missing, but required"),
        ({"name": "x"}, "tools.0.input_schema: missing, but required"),
        ({"name": "x", "type": "custom", "input_schema": None}, "tools.0.input_schema: missing, but required"),
        ({"name": "x", "input_schema": True}, "tools.0.input_schema: must be an object"),
        ({"name": 7, "input_schema": {}}, "tools.0.name: expected a string or null, got a whole number"),
    ],
)
def test_a_tool_that_is_none_is_refused(entry: dict[str, Any], why: str) -> None:
    assert refusal(tools=[entry]) == why


def test_a_choice_must_be_one_that_there_is() -> None:
    assert refusal(tools=[tool("a")], tool_choice={"type": "tool", "name": "b"}) == (
        'tool_choice.name: there is no tool "b" among tools'
    )
    assert refusal(tool_choice={"type": "tool", "name": "b"}) == 'tool_choice.name: there is no tool "b" among tools'
    assert refusal(tools=[tool("a")], tool_choice={"type": "tool"}).startswith("tool_choice.name: there is no tool")
    assert refusal(tools=[tool("a")], tool_choice={"type": "some"}) == (
        'tool_choice.type: must be "auto", "any", "tool" or "none", not "some"'
    )
