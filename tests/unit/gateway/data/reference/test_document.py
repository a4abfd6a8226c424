"""The document is whole, says what is so, and is OpenAPI 3.1."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.reference.schema_checker import DOCUMENT, KEYWORDS, SCHEMAS, check, problems

from cortex.gateway.data.key_door import OPEN
from cortex.gateway.data.reference.failure import statuses
from cortex.gateway.data.reference.member import EFFECTS
from cortex.gateway.data.route import INFERENCE

OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
OF_OPERATION = {
    *("operationId", "tags", "summary", "description", "parameters", "requestBody", "responses", "security", "servers"),
    *("x-cortex-dialect", "x-cortex-operation", "x-cortex-engine-path", "x-cortex-streams", "x-cortex-sent"),
}


def parts(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in it."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from parts(value)
    elif isinstance(part, list):
        for value in part:
            yield from parts(value)


def test_it_is_json_and_every_reference_leads_somewhere() -> None:
    whole = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    there = {f"#/components/{kind}/{name}" for kind, named in whole["components"].items() for name in named}
    used = {part["$ref"] for part in parts(whole) if isinstance(part.get("$ref"), str)}
    assert used <= there
    unused = there - used
    assert {name for name in unused if "securitySchemes" not in name and "/responses/" not in name} == set()
    assert whole["openapi"] == "3.1.0"


def test_what_fails_is_told_of_only_where_it_can_happen() -> None:
    used = {
        part["$ref"].rpartition("/")[2] for part in parts(DOCUMENT["paths"]) if "responses/" in str(part.get("$ref"))
    }
    unused = set(DOCUMENT["components"]["responses"]) - used
    assert unused == {"Openai405", "Responses405", "Anthropic405", "Ollama405"}, "no operation takes another method"


def test_operations_are_what_openapi_has() -> None:
    assert len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values()), "an id stands twice"
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, (path, method, operation) in OPERATIONS.items():
        assert re.fullmatch(r"[a-z_]+", name)
        assert method in ("get", "post", "delete")
        assert set(operation) <= OF_OPERATION, name
        assert set(operation["tags"]) <= tags
        assert operation["summary"].endswith(".")
        assert "200" in operation["responses"]
        assert all(answer.get("$ref") or answer["description"] for answer in operation["responses"].values())
        in_path = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
    assert tags == {tag for _, _, operation in OPERATIONS.values() for tag in operation["tags"]}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_have_what_json_schema_has(name: str) -> None:
    def look(schema: Any) -> None:
        assert set(schema) <= KEYWORDS
        properties = schema.get("properties", {})
        assert set(schema.get("required", ())) <= set(properties) or not properties
        inner = [*properties.values(), *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
        for one in inner:
            look(one)

    look(SCHEMAS[name])


def test_a_route_says_where_its_engine_is_asked_and_whether_it_streams() -> None:
    for path, route in INFERENCE.items():
        operation = DOCUMENT["paths"][path.decode()]["post"]
        assert operation["x-cortex-dialect"] == route.dialect.name
        assert operation["x-cortex-engine-path"] == (route.engine_path or path).decode()
        assert operation["x-cortex-operation"] == route.operation
        streams = route.dialect.stream_type.decode() in operation["responses"]["200"]["content"]
        assert (operation["x-cortex-streams"], streams) == (route.ends_with_done, route.ends_with_done)
        forms = "multipart/form-data" in operation["requestBody"]["content"]
        assert forms == route.is_upload
        assert {int(status) for status in operation["responses"] if status.isdigit()} == {
            200,
            *(status for status in statuses(route.dialect.name) if status != 405),
        }


def test_only_what_is_open_asks_for_no_key() -> None:
    open_paths = {path for path, _, operation in OPERATIONS.values() if operation.get("security") == []}
    assert open_paths == {path.decode() for path in OPEN} | {"/metrics"}


def test_every_member_of_a_body_says_what_becomes_of_it() -> None:
    bodies = {
        content["schema"]["$ref"].rpartition("/")[2]
        for _, _, operation in OPERATIONS.values()
        for content in operation.get("requestBody", {"content": {}})["content"].values()
    }
    for name in bodies | {"OllamaOptions"}:
        effects = {member.get("x-cortex-effect") for member in SCHEMAS[name]["properties"].values()}
        assert effects <= set(EFFECTS), name


@pytest.mark.parametrize("name", [name for name, (_, _, one) in OPERATIONS.items() if "requestBody" in one])
def test_examples_of_requests_are_such(name: str) -> None:
    for content in OPERATIONS[name][2]["requestBody"]["content"].values():
        schema = content["schema"]["$ref"].rpartition("/")[2]
        if "example" in content:
            check(content["example"], schema)
        for member, shape in SCHEMAS[schema]["properties"].items():
            for example in shape.get("examples", ()):
                assert list(problems(example, shape)) == [], member


def test_examples_of_answers_are_such() -> None:
    checked = 0
    for _, _, operation in OPERATIONS.values():
        for content in operation["responses"]["200"]["content"].values():
            if "example" in content and "$ref" in content["schema"]:
                check(content["example"], content["schema"]["$ref"].rpartition("/")[2])
                checked += 1
    assert checked >= len([route for route in INFERENCE.values() if route.dialect.translate is not None])
