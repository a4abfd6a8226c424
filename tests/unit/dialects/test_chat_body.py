"""Requests as each kind of engine takes them."""

from typing import Any

import msgspec
import pytest

from cortex.dialects.chat_body import chat_body
from cortex.dialects.chat_request import (
    AnswerFormat,
    ChatRequest,
    ImagePart,
    Message,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)
from cortex.dialects.engine import GENERIC, EngineTraits, traits_of

LLAMACPP, MISTRALRS, VLLM = traits_of("llamacpp"), traits_of("mistralrs"), traits_of("vllm")
HI = (Message(role="user", content="hi"),)
TOOL = Tool(name="look", description="Looks.", parameters=msgspec.Raw(b'{"type": "object"}'), is_strict=False)


def body(traits: EngineTraits = GENERIC, context: int | None = None, **members: Any) -> dict[str, Any]:
    request = ChatRequest(**({"model": "alias", "messages": HI} | members))
    written: dict[str, Any] = msgspec.json.decode(chat_body(request, traits, "engine-id", context))
    return written


def test_an_unknown_kind_is_spoken_to_as_openai_documents() -> None:
    assert traits_of("something") is traits_of("openai") is traits_of("command") is GENERIC
    assert body(thinking=Thinking(is_on=True, effort="high", budget_tokens=9)) == {
        "model": "engine-id",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_everything_that_is_said_is_passed_on() -> None:
    said = {"temperature": 0.0, "top_p": 0.5, "top_k": 0, "min_p": 0.1, "seed": 0, "max_tokens": 5}
    said |= {"presence_penalty": 0.0, "frequency_penalty": -1.0}
    found = body(**said, stop=("a",), extra={"logit_bias": msgspec.Raw(b'{"5":1.50}')}, is_parallel=True, tools=(TOOL,))
    assert found == body() | said | {
        "stop": ["a"],
        "logit_bias": {"5": 1.5},
        "parallel_tool_calls": True,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object"},
                    "strict": False,
                },
            }
        ],
    }


def test_what_is_passed_on_cannot_take_the_place_of_what_is_decided() -> None:
    extra = {name: msgspec.Raw(b'"mine"') for name in ("model", "messages")}
    assert body(extra=extra) == body()


def test_a_tool_need_not_say_more_than_its_name() -> None:
    assert body(tools=(Tool(name="x"),))["tools"] == [{"type": "function", "function": {"name": "x"}}]


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert body(tool_choice=ToolChoice(mode="required"), is_parallel=False) == body()


@pytest.mark.parametrize("traits", [LLAMACPP, MISTRALRS, VLLM, GENERIC], ids=lambda traits: traits.kind)
def test_an_answer_may_have_to_be_json(traits: EngineTraits) -> None:
    any_object = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body(traits, answer_format=AnswerFormat())["response_format"] == (
        {"type": "json_schema", "json_schema": any_object} if traits is MISTRALRS else {"type": "json_object"}
    )
    by_schema = AnswerFormat(schema=msgspec.Raw(b'{"type":"object"}'), name="n", is_strict=None)
    assert body(traits, answer_format=by_schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    }


def test_thinking_that_is_not_spoken_of_stays_as_the_engine_has_it() -> None:
    for traits in (LLAMACPP, MISTRALRS, VLLM, GENERIC):
        assert body(traits) == body()
        assert body(traits, thinking=Thinking()) == body()


def test_an_effort_of_none_is_no_thinking() -> None:
    off = Thinking(is_on=False)
    for traits in (LLAMACPP, MISTRALRS, VLLM):
        assert body(traits, thinking=Thinking(effort="none")) == body(traits, thinking=off)
        assert body(traits, thinking=Thinking(is_on=True, effort="none")) == body(traits, thinking=off)


def test_an_effort_may_be_all_that_is_said() -> None:
    assert body(LLAMACPP, thinking=Thinking(effort="minimal")) == body() | {"reasoning_effort": "low"}
    assert body(MISTRALRS, thinking=Thinking(effort="max")) == body() | {"reasoning_effort": "xhigh"}


def test_an_engine_that_is_switched_by_effort_alone_gets_its_least() -> None:
    traits = EngineTraits(kind="x", reasoning_switch="effort", efforts=("low", "high"))
    assert body(traits, thinking=Thinking(is_on=False)) == body() | {"reasoning_effort": "low"}
    assert body(traits, thinking=Thinking(is_on=True)) == body()


def test_a_message_after_calls_is_no_beginning_of_an_answer() -> None:
    call = ToolCall(id="1", name="look", arguments="{}")
    found = body(VLLM, messages=(*HI, Message(role="assistant", calls=(call,))))
    assert "continue_final_message" not in found
    assert body(VLLM, messages=(*HI, Message(role="assistant", content="a")))["continue_final_message"] is True


def test_who_goes_on_with_an_answer_does_not_think_first() -> None:
    begun = (*HI, Message(role="assistant", content="a"))
    found = body(LLAMACPP, messages=begun, thinking=Thinking(is_on=True, budget_tokens=9))
    assert found == body(LLAMACPP, messages=begun, thinking=Thinking(is_on=False)) == body(LLAMACPP, messages=begun)
    assert found["chat_template_kwargs"]["enable_thinking"] is False


# The bound on the answer


def test_an_engine_that_bounds_answers_itself_gets_the_callers_bound() -> None:
    for traits in (LLAMACPP, MISTRALRS):
        assert body(traits, context=4096, max_tokens=64000)["max_tokens"] == 64000


def test_an_engine_that_would_refuse_a_bound_is_not_told_it() -> None:
    for traits in (VLLM, traits_of("sglang"), GENERIC):
        assert body(traits, context=4096, max_tokens=1000)["max_tokens"] == 1000
        assert "max_tokens" not in body(traits, context=4096, max_tokens=4096)
        assert "max_tokens" not in body(traits, context=4096, max_tokens=64000)
        assert body(traits, context=None, max_tokens=64000)["max_tokens"] == 64000


def test_a_bound_is_left_out_only_where_the_answer_cannot_become_longer_than_it() -> None:
    long = (Message(role="user", content="x" * 8 * 1000),)
    assert body(VLLM, context=4096, max_tokens=3000, messages=long)["max_tokens"] == 3000
    assert "max_tokens" not in body(VLLM, context=4096, max_tokens=3096, messages=long)


def test_a_picture_does_not_count_by_its_bytes() -> None:
    seen = (Message(role="user", content=(ImagePart(url="data:image/png;base64," + "A" * 100_000),)),)
    assert body(VLLM, context=4096, max_tokens=1000, messages=seen)["max_tokens"] == 1000


def test_a_number_that_no_engine_could_hold_is_the_largest_that_all_can() -> None:
    thinking = Thinking(is_on=True, budget_tokens=2**40)
    told = body(LLAMACPP, max_tokens=2**63, top_k=2**31, thinking=thinking)
    assert {told["max_tokens"], told["top_k"], told["thinking_budget_tokens"]} == {2**31 - 1}
