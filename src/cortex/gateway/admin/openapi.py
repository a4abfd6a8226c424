"""The OpenAPI document of the admin API, made from its operations and the structs of its messages."""

import re
from typing import Any

import msgspec

from cortex import __version__
from cortex.contract.admin import ErrorAnswer
from cortex.gateway.admin.operation import OPERATIONS, PREFIX, Operation

_SCHEMA = "#/components/schemas/{name}"
_ABOUT = (
    "What operators see and do. Calls that change something carry `Content-Type: application/json`. Errors are "
    "`{error: {code, message, details}}`."
)


def document() -> dict[str, Any]:
    """Return the whole document, as plain data."""
    kinds = {kind for operation in OPERATIONS for kind in (operation.body, operation.answer) if kind is not None}
    components = _schemas(*sorted(kinds, key=_name), ErrorAnswer)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "cortex admin API", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_in_path(operation), *_in_query(operation)],
        "responses": {"200": _answer(operation), "default": _content("Why not.", ErrorAnswer)},
    }
    if operation.may_take_time and operation.answer is not None:
        said["responses"]["202"] = _content("Under way.", operation.answer)
    if operation.body is not None:
        said["requestBody"] = _content("", operation.body) | {"required": True}
        del said["requestBody"]["description"]
    return said


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is not None:
        done = _content("Done.", operation.answer)
        if operation.may_follow:
            done["content"]["text/event-stream"] = {"schema": {}}
        return done
    media = "text/event-stream" if operation.name == "stream_events" else "application/json"
    return {"description": "Done.", "content": {media: {"schema": {}}}}


def _in_path(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    shaped = _schemas(operation.query)[_name(operation.query)]
    required = shaped.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in shaped["properties"].items()
    ]


def _content(about: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    schema = {"$ref": _SCHEMA.format(name=_name(kind))}
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _schemas(*kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schemas of messages by name; what may hold anything says nothing."""
    return msgspec.json.schema_components(
        kinds, schema_hook=lambda _: {"description": "anything"}, ref_template=_SCHEMA
    )[1]


def _name(kind: type[msgspec.Struct]) -> str:
    return kind.__name__
