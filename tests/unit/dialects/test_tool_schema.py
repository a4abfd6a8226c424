"""Schemas as engines can take them."""

from typing import Any

import msgspec
import pytest

from cortex.dialects.engine import EngineTraits, traits_of
from cortex.dialects.tool_schema import MAX_DEPTH, MAX_KEPT_BYTES, plain_answer_schema, plain_tool_schema

LLAMACPP = traits_of("llamacpp")


def plain(schema: Any, traits: EngineTraits = LLAMACPP) -> Any:
    return msgspec.json.decode(plain_tool_schema(msgspec.Raw(msgspec.json.encode(schema)), traits))


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


def test_keywords_that_the_engine_cannot_take_are_left_out_wherever_they_stand() -> None:
    word = {"type": "string", "minLength": 1}
    hard = word | {"pattern": "(?!x)", "format": "uri"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": hard, "b": {"type": "array", "items": hard}, "c": {"anyOf": [hard, {"type": "null"}]}},
        "additionalProperties": hard,
        "propertyNames": {"pattern": "a"},
        "$defs": {"d": hard},
    }
    assert plain(schema) == {
        "type": "object",
        "properties": {"a": word, "b": {"type": "array", "items": word}, "c": {"anyOf": [word, {"type": "null"}]}},
        "additionalProperties": word,
        "$defs": {"d": word},
    }


def test_a_parameter_may_be_called_like_a_keyword() -> None:
    schema = properties(pattern={"type": "string"}, format={"type": "string"}, properties={"type": "object"}) | {
        "required": ["pattern", "format"]
    }
    assert plain(schema) == schema


def test_what_is_data_is_no_schema() -> None:
    data = {"pattern": "x", "format": True, "$ref": "https://x"}
    schema = properties(a={"const": data}, b={"default": data}, c={"enum": [data, True]}, d={"examples": [data]})
    assert plain(schema) == schema


def test_a_schema_that_is_true_is_an_empty_one_where_it_must_be() -> None:
    schema = properties(a=True, b={"type": "array", "items": True}, c={"anyOf": [True]}) | {
        "additionalProperties": True,
        "uniqueItems": True,
    }
    assert plain(schema) == properties(a={}, b={"type": "array", "items": {}}, c={"anyOf": [{}]}) | {
        "additionalProperties": True,
        "uniqueItems": True,
    }
    assert plain(schema, traits_of("vllm")) == schema


def test_a_reference_into_another_document_is_left_out_and_one_into_this_is_not() -> None:
    schema = properties(a={"$ref": "#/$defs/x"}, b={"$ref": "https://schemas.example/x", "description": "b"})
    assert plain(schema) == properties(a={"$ref": "#/$defs/x"}, b={"description": "b"})


def test_an_engine_without_such_limits_gets_the_callers_bytes() -> None:
    schema = msgspec.Raw(b'{ "$schema":"x", "properties" : {"a":true} }')
    for kind in ("", "vllm", "sglang"):
        assert plain_tool_schema(schema, traits_of(kind)) is schema
        assert plain_answer_schema(schema, traits_of(kind)) is schema


def test_what_needs_no_change_stays_the_callers_bytes() -> None:
    schema = b'{ "type":"object", "properties" : {"a":{"minimum":1.50}} }'
    assert bytes(plain_tool_schema(msgspec.Raw(schema), LLAMACPP)) == schema


def test_what_an_answer_must_be_is_not_made_less() -> None:
    schema = b'{"$schema":"x","properties":{"a":{"type":"string","pattern":"^a$"},"b":true}}'
    assert bytes(plain_answer_schema(msgspec.Raw(schema), LLAMACPP)) == (
        b'{"properties":{"a":{"type":"string","pattern":"^a$"},"b":{}}}'
    )


@pytest.mark.parametrize(
    "text", [b'{"pattern":', b"", b'{"pattern":"\xff"}', b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"]
)
def test_what_is_no_schema_is_left_for_the_engine_to_refuse(text: bytes) -> None:
    assert bytes(plain_tool_schema(msgspec.Raw(text), LLAMACPP)) == text


def test_a_schema_is_looked_into_so_deep_and_no_deeper() -> None:
    schema: dict[str, Any] = {"pattern": "a"}
    for _ in range(MAX_DEPTH + 1):
        schema = {"items": schema}
    assert b"pattern" in msgspec.json.encode(plain(schema))
    assert b"pattern" not in msgspec.json.encode(plain(schema["items"]))


def test_a_large_schema_is_rewritten_too() -> None:
    schema = properties(a={"type": "string", "pattern": "a", "description": "x" * MAX_KEPT_BYTES})
    assert "pattern" not in plain(schema)["properties"]["a"]
