"""The document for machines: whole, and of the API that there is."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.gateway.admin.api import AdminApi
from cortex.gateway.admin.feed import FleetFeed
from cortex.gateway.admin.openapi import document
from cortex.gateway.admin.operation import OPERATIONS, PREFIX
from cortex.kit.task import TaskOwner

DOCUMENT = document()


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_has_exactly_the_routes_that_are_served() -> None:
    fleet = FakeFleet()
    feed = FleetFeed(fleet, fleet.clock, TaskOwner(), start_id="x")
    api = AdminApi(fleet, feed, fleet.clock, insight=fleet.seen.insight)
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in api._app.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods} == served


def test_it_is_json_and_every_reference_leads_somewhere() -> None:
    whole = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    schemas = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    used = set(references(whole))
    assert used <= schemas
    assert whole["openapi"].startswith("3.1")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_says_what_it_takes_and_gives(operation: Any) -> None:
    said = DOCUMENT["paths"][PREFIX + operation.path][operation.method.lower()]
    assert said["operationId"] == operation.name
    assert re.search(r"\w+\.$", said["summary"])
    places = {(parameter["name"], parameter["in"]) for parameter in said["parameters"]}
    assert places >= {(name, "path") for name in re.findall(r"{(\w+)}", operation.path)}
    if operation.query is not None:
        assert places >= {(name, "query") for name in operation.query.__struct_fields__}
    assert ("requestBody" in said) == (operation.body is not None)
    assert set(said["responses"]) == {"200", "default"} | ({"202"} if operation.may_take_time else set())


def test_what_may_take_time_is_said_to() -> None:
    assert [operation.name for operation in OPERATIONS if operation.may_take_time] == ["load_model", "unload_model"]


def test_what_is_required_is_said() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["PinCall"]["required"] == ["model", "node", "pinned"]
    assert schemas["LoadCall"]["additionalProperties"] is False
