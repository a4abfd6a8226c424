"""The object tells back what was asked, and null where an engine decides by itself."""

import json
from typing import Any

import pytest
from openai.types.responses import Response
from tests.unit.dialects.responses_checker import check_response
from tests.unit.dialects.responses_scene import CRM, EPOCH_S, PATCH, SCHEMA, WEATHER, translated

from cortex.contract.error import ModelNotFound
from cortex.dialects.chat_event import Counted
from cortex.dialects.responses_object import error_object, usage_object
from cortex.dialects.usage import Usage


def shown(**members: Any) -> dict[str, Any]:
    response = json.loads(translated(**members).waiting_body("queued"))
    Response.model_validate(response)
    return check_response(response)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instructions", "be nice"),
        ("max_output_tokens", 10),
        ("max_tool_calls", 3),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", False),
        ("previous_response_id", "resp_1"),
        ("prompt_cache_key", "k"),
        ("safety_identifier", "s"),
        ("temperature", 0.5),
        ("tools", [WEATHER, PATCH, CRM, {"type": "web_search"}]),
        ("top_logprobs", 2),
        ("top_p", 0.9),
        ("user", "u"),
        ("background", True),
        ("reasoning", {"effort": "low", "summary": "auto"}),
        ("model", "some/model"),
    ],
)
def test_what_was_asked_is_told_back(name: str, value: object) -> None:
    assert shown(**{name: value})[name] == value


def test_what_was_not_asked_has_the_value_that_openai_documents_or_none() -> None:
    response = shown()
    assert response["created_at"] == int(EPOCH_S)
    assert response["store"] is True
    assert response["tool_choice"] == "auto"
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert response["truncation"] == "disabled"
    assert response["parallel_tool_calls"] is True
    assert (response["tools"], response["metadata"], response["output"]) == ([], {}, [])
    nulls = ("temperature", "top_p", "max_output_tokens", "usage", "error", "incomplete_details", "completed_at")
    assert [response[name] for name in nulls] == [None] * len(nulls)


def test_a_choice_is_told_back_as_it_was_made() -> None:
    choice = {"type": "function", "name": "weather"}
    assert shown(tools=[WEATHER], tool_choice=choice)["tool_choice"] == choice


@pytest.mark.parametrize("more", [{}, {"description": "A day."}, {"strict": True}])
def test_a_schema_is_told_back(more: dict[str, Any]) -> None:
    form = {"type": "json_schema", "name": "day", "schema": SCHEMA, "strict": False, **more}
    assert shown(text={"format": form, "verbosity": "low"})["text"] == {"format": form, "verbosity": "low"}


def test_counts_that_an_engine_leaves_out_are_nothing() -> None:
    found = usage_object(Counted(usage=Usage(3, None, None)))
    assert found is not None
    assert (found["input_tokens"], found["output_tokens"], found["total_tokens"]) == (3, 0, 3)


def test_an_error_names_what_of_the_request_was_wrong() -> None:
    assert error_object(ModelNotFound("no", param="model")) == {
        "code": "invalid_prompt",
        "message": "no",
        "param": "model",
        "type": "invalid_request_error",
    }
