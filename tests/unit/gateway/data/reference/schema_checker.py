"""Holds values to schemas of the document: the keywords that it uses, and no others.

Stricter than JSON schema: an object has no members but those that its schema names, unless that names none.
"""

from collections.abc import Iterator
from typing import Any

from cortex.gateway.data.reference.document import document

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]

KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
BESIDE = {"description", "examples", "default", "contentMediaType", "x-cortex-effect"}
KEYWORDS = BESIDE | {
    *("type", "properties", "required", "items", "enum", "anyOf", "$ref", "additionalProperties"),
    *("minimum", "maximum", "minLength", "maxLength"),
}


def problems(value: Any, schema: Any, place: str = "$") -> Iterator[str]:
    """Yield what is wrong with a value."""
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    if "$ref" in schema:
        yield from problems(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], place)
        return
    if "anyOf" in schema:
        found = [list(problems(value, one, place)) for one in schema["anyOf"]]
        if all(found):
            yield from min(found, key=len)
        return
    kind = schema.get("type")
    if kind is not None and not is_kind(value, kind):
        yield f"{place}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from problems(item, schema["items"], f"{place}.{index}")
    if isinstance(value, dict):
        yield from problems_of_members(value, schema, place)


def problems_of_members(value: dict[str, Any], schema: Any, place: str) -> Iterator[str]:
    named, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{place}.{name}: missing" for name in schema.get("required", ()) if name not in value)
    for name, member in value.items():
        if name in named:
            yield from problems(member, named[name], f"{place}.{name}")
        elif isinstance(others, dict):
            yield from problems(member, others, f"{place}.{name}")
        elif named and others is not True:
            yield f"{place}.{name}: not in the document"


def is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])


def check(value: Any, name: str) -> None:
    """Assert that a value fits a schema of the document."""
    assert list(problems(value, SCHEMAS[name])) == []
