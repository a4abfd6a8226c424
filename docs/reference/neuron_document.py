"""The neuron's API as an OpenAPI document, made from the structs of its messages.

That the calls are those that there are, a test sees (``tests/docs/test_reference.py``).
"""

from typing import Any

import msgspec

from cortex import __version__
from cortex.contract.event import NodeChange
from cortex.contract.instance import (
    EndpointAnswer,
    InstanceReport,
    LoadAnswer,
    LoadRequest,
    NeuronErrorAnswer,
    PinAnswer,
    PinRequest,
    UnloadAnswer,
    UnloadRequest,
)
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.contract.node import (
    Discovery,
    Health,
    MaintenanceAnswer,
    MaintenanceRequest,
    RestartAnswer,
    RestartRequest,
)

TEXT = {"type": "string"}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call; ``answer``: a type, or a media type where it is no JSON."""

    path: str
    summary: str
    body: Any = None
    answer: Any = None
    query: dict[str, dict[str, Any]] = {}
    slow: bool = False
    """202 while it is not done yet."""


CALLS = (
    Call(path="/discovery", summary="What the host is made of.", answer=Discovery),
    Call(path="/health", summary="How the host is now, as it was last sampled.", answer=Health),
    Call(path="/models", summary="Models and their states.", answer=list[InstanceReport]),
    Call(path="/models/load", summary="Begin a load.", body=LoadRequest, answer=LoadAnswer),
    Call(path="/models/unload", summary="Unload a model.", body=UnloadRequest, answer=UnloadAnswer, slow=True),
    Call(path="/models/pin", summary="Pin a model, or unpin it.", body=PinRequest, answer=PinAnswer),
    Call(
        path="/models/{id}/endpoint",
        summary="Where a loaded model is reached; its caller becomes a holder where it names itself.",
        query={"gateway": TEXT | {"minLength": 1, "maxLength": 128}},
        answer=EndpointAnswer,
    ),
    Call(
        path="/models/{id}/logs",
        summary="The last lines of an engine's log; followed, they come as plain text.",
        query={
            "lines": {"type": "integer", "minimum": 1, "maximum": 2000, "default": 200},
            "follow": {"type": "boolean", "default": False},
        },
        answer="application/json",
    ),
    Call(
        path="/maintenance",
        summary="Take the node out, or back: nothing new is loaded meanwhile.",
        body=MaintenanceRequest,
        answer=MaintenanceAnswer,
    ),
    Call(path="/leases", summary="What a gateway uses; what it has not seen.", body=LeasePost, answer=LeaseAnswer),
    Call(
        path="/harnesses/{name}/restart",
        summary="Unload everything of a harness, and restart its server.",
        body=RestartRequest,
        answer=RestartAnswer,
    ),
    Call(
        path="/events",
        summary="Every change as it happens: NodeChange, each with a number.",
        query={"since": TEXT},
        answer="text/event-stream",
    ),
    Call(path="/metrics", summary="For Prometheus.", answer="text/plain"),
    Call(path="/livez", summary="The process lives.", answer="application/json"),
    Call(path="/readyz", summary="The neuron has started.", answer="application/json"),
)


def document() -> dict[str, Any]:
    """Return the whole document, as plain data."""
    bodies = [call.body for call in CALLS if call.body is not None]
    answers = [call.answer for call in CALLS if call.answer is not None and not isinstance(call.answer, str)]
    kinds = [*bodies, *answers, NodeChange, NeuronErrorAnswer]
    shapes, components = msgspec.json.schema_components(
        kinds, schema_hook=lambda _: {"description": "anything"}, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(map(str, kinds), shapes, strict=True))
    paths: dict[str, Any] = {}
    for call in CALLS:
        method = "get" if call.body is None else "post"
        paths.setdefault(call.path, {})[method] = _operation(call, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "API of a cortex neuron", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(call: Call, schemas: dict[str, Any]) -> dict[str, Any]:
    is_json = not isinstance(call.answer, str)
    content = {"application/json": {"schema": schemas[str(call.answer)]}} if is_json else {call.answer: {"schema": {}}}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if call.slow:
        responses["202"] = {"description": "Under way.", "content": content}
    refusal = {"application/json": {"schema": schemas[str(NeuronErrorAnswer)]}}
    responses["default"] = {"description": "Why not.", "content": refusal}
    in_path = [name for name in ("id", "name") if f"{{{name}}}" in call.path]
    said: dict[str, Any] = {
        "summary": call.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": TEXT} for name in in_path),
            *({"name": name, "in": "query", "required": False, "schema": one} for name, one in call.query.items()),
        ],
        "responses": responses,
    }
    if call.body is not None:
        said["requestBody"] = {"content": {"application/json": {"schema": schemas[str(call.body)]}}, "required": True}
    return said
