"""The plain members of a Responses request reach the engine, or are refused by their names."""

from typing import Any

import pytest
from tests.unit.dialects.responses_scene import SCHEMA, a_mint, refusal, sent, translated

from cortex.contract.error import MalformedRequest, ModelMissing
from cortex.dialects.engine import traits_of
from cortex.dialects.responses import RESPONSES


def test_numbers_reach_the_engine_under_its_names() -> None:
    body = sent(temperature=0.5, top_p=1, max_output_tokens=100, presence_penalty=0.1, frequency_penalty=0)
    wanted = {"temperature": 0.5, "top_p": 1, "max_tokens": 100, "presence_penalty": 0.1, "frequency_penalty": 0}
    assert {name: body[name] for name in wanted} == wanted
    assert translated(max_output_tokens=100).max_tokens == 100


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        (None, {}),
        ({"summary": "auto"}, {}),
        ({"effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ({"effort": "high"}, {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
    ],
)
def test_effort_switches_reasoning_and_its_absence_leaves_it_to_the_engine(
    reasoning: dict[str, str] | None, told: dict[str, Any]
) -> None:
    body = sent(traits_of("llamacpp"), reasoning=reasoning)
    assert body.get("chat_template_kwargs") == told.get("chat_template_kwargs")


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
def test_every_effort_that_openai_has_is_taken(effort: str) -> None:
    assert "messages" in sent(reasoning={"effort": effort})


def test_a_schema_for_the_answer_is_told() -> None:
    form = {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}
    assert sent(text={"format": form, "verbosity": "low"})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.parametrize(("form", "told"), [("json_object", {"type": "json_object"}), ("text", None)])
def test_an_answer_may_be_any_json_or_plain_text(form: str, told: object) -> None:
    assert sent(text={"format": {"type": form}}).get("response_format") == told


@pytest.mark.parametrize(
    ("members", "param", "words"),
    [
        ({"conversation": "conv_1"}, "conversation", "use previous_response_id"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "no stored prompts"),
        ({"background": True, "store": False}, "background", "has to be stored"),
        ({"max_output_tokens": 0}, "max_output_tokens", "from 1 on"),
        ({"max_output_tokens": "9"}, "max_output_tokens", "expected a whole number or null, got a string"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "expected one of none, minimal"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "'xml' is not known"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "expected a JSON schema"),
        ({"metadata": {"a": 1}}, "metadata", "expected a string"),
        ({"input": 7}, "input", "expected a string or an array or null"),
        ({"stream": "yes"}, "stream", "expected true or false"),
        ({"instructions": ["a"]}, "instructions", "expected a string"),
        ({"tools": {}}, "tools", "expected an array"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_served_is_refused_by_its_name(members: dict[str, Any], param: str, words: str) -> None:
    error = refusal(**members)
    assert str(error.details["param"]).startswith(param)
    assert words in error.message


def test_without_input_there_is_nothing_to_answer() -> None:
    assert refusal(input=None).message == "input: missing, but required: a string or an array of items"


@pytest.mark.parametrize("model", [None, ""])
def test_a_model_has_to_be_named(model: str | None) -> None:
    with pytest.raises(ModelMissing):
        translated(model=model)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"model":"m","input":"\\ud800"}', b"[" * 5000])
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        RESPONSES.translate(body, a_mint())
