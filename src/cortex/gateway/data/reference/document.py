"""The whole OpenAPI document, as plain data."""

import re
from typing import Any

from cortex import __version__
from cortex.contract.error import ModelLoading
from cortex.dialects.anthropic_wire import Wire as MessageWire
from cortex.dialects.interface import Dialect
from cortex.dialects.ollama_wire import ChatAsked, EmbedAsked, GenerateAsked, ShowAsked
from cortex.dialects.responses_wire import Wire as ResponseWire
from cortex.gateway.data.reference import anthropic_member, ollama_member, openai_member, responses_member
from cortex.gateway.data.reference.answer import ANSWERS
from cortex.gateway.data.reference.example import REQUESTS, WAITING, example_of, failed_stream
from cortex.gateway.data.reference.failure import (
    DIALECTS,
    ENVELOPES,
    REQUEST_ID,
    an_error,
    code_schema,
    envelope_of,
    response_name,
    responses,
    statuses,
    table,
)
from cortex.gateway.data.reference.header_note import ANSWERED, ASKED, limits_of
from cortex.gateway.data.reference.member import EFFECTS, body_shape
from cortex.gateway.data.reference.operation import WORDS, Operation, operations
from cortex.gateway.data.reference.shape import OBJECT, Schema, ref, struct_shapes
from cortex.gateway.edge_error import status_of

ABOUT = """\
What clients of OpenAI, Anthropic and Ollama speak to a gateway. Their base URL is the gateway's, with `/v1` at its \
end for OpenAI's SDKs and Codex, without it for Anthropic's SDKs, Claude Code and Ollama's clients.

`x-cortex-effect` at a member of a request says what becomes of it. Members that are not named here are passed on \
where engines take requests as they are (dialect `openai`), and ignored elsewhere. Null is as good as left out.

Errors have the envelope of the dialect that the path belongs to; on paths that belong to none it is OpenAI's, and \
Anthropic's where the request has the header `anthropic-version`. An engine's own 4xx and 5xx are passed on as they \
are on paths of dialect `openai`. Once a stream has begun, an error is its last event.

Every path takes OPTIONS, and HEAD where it takes GET. The admin API is described at `/admin/v1/openapi.json`."""

_TAGS = {
    "OpenAI": (
        "Engines speak it themselves: requests and answers are passed through byte by byte, streams chunk by chunk."
    ),
    "Responses": "OpenAI's Responses, made of engines' chat; what is kept can be asked for again.",
    "Anthropic": "Anthropic's Messages, made of engines' chat.",
    "Ollama": (
        "Ollama's API, made of engines' chat and embeddings. Its model store is not served: `models.toml` has the "
        "models."
    ),
    "Engines": "What some engines have besides OpenAI's API, passed through.",
    "Models": "What can be asked for by `model`.",
    "Gateway": "The gateway about itself.",
}
_STREAMED = {
    "openai": (
        "With `stream` server-sent events, byte by byte as the engine sends them, to `data: [DONE]`. While the "
        "request waits for its model, comments come now and then."
    ),
    "anthropic": (
        "With `stream` Anthropic's events, `message_start` to `message_stop`; `ping` while the request waits for "
        "its model."
    ),
    "responses": (
        "With `stream` the events `response.created` to `response.completed`, `response.incomplete` or "
        "`response.failed`; comments while the request waits for its model."
    ),
    "ollama": (
        "Unless `stream` is false, lines of JSON, the last with `done`; while the request waits for its model, "
        "lines with nothing in them but `status`."
    ),
}
_BROKEN_OFF = "Where it fails half-way, an error in the dialect is the last that comes."


def document() -> dict[str, Any]:
    """Return it."""
    listed = list(operations())
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cortex API",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}, {"x-api-key": []}, {"api-key": []}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {**_bodies(), **ANSWERS, **ENVELOPES, "ErrorCode": code_schema()},
            "responses": responses(),
            "headers": ANSWERED,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": ASKED["authorization"]},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": ASKED["x-api-key"]},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": ASKED["api-key"]},
            },
        },
        "x-cortex-dialects": [_dialect(dialect) for dialect in DIALECTS],
        "x-cortex-effects": EFFECTS,
        "x-cortex-errors": table(),
        "x-cortex-request-headers": ASKED,
    }


def _dialect(dialect: Dialect) -> dict[str, Any]:
    """Return how a dialect says what can happen to any request."""
    error = an_error(ModelLoading)
    status = status_of(error, dialect.name)
    return {
        "name": dialect.name,
        "stream": dialect.stream_type.decode(),
        "waiting": dialect.heartbeat(WAITING, "coder").decode(),
        "error": dialect.error_body(error, status, REQUEST_ID).decode(),
        "error-in-stream": failed_stream(dialect, error, status).decode(),
        "error-status": status,
        "limits": limits_of(dialect.name),
    }


def _bodies() -> dict[str, Schema]:
    """Return the schemas of requests by their names."""
    found: dict[str, Schema] = {}
    for path, members in openai_member.BY_PATH.items():
        found[WORDS[path].body] = body_shape("Other members are passed on as they are.", members)
    for name, prefix, members, kind in (
        ("MessageRequest", "Anthropic", anthropic_member.MESSAGES, MessageWire),
        ("CountRequest", "Anthropic", anthropic_member.COUNT_TOKENS, MessageWire),
        ("ResponseRequest", "Responses", responses_member.RESPONSES, ResponseWire),
        ("OllamaChatRequest", "Ollama", ollama_member.CHAT, ChatAsked),
        ("OllamaGenerateRequest", "Ollama", ollama_member.GENERATE, GenerateAsked),
        ("OllamaEmbedRequest", "Ollama", ollama_member.EMBED, EmbedAsked),
        ("OllamaEmbeddingsRequest", "Ollama", ollama_member.EMBEDDINGS, EmbedAsked),
        ("OllamaShowRequest", "Ollama", ollama_member.SHOW, ShowAsked),
    ):
        own, inner = struct_shapes(kind, prefix)
        found |= inner | {name: body_shape("Other members are ignored.", members, own)}
    options = body_shape(
        "How to choose words. Other members are ignored.", ollama_member.OPTIONS, found["OllamaOptions"]
    )
    return {**found, "OllamaOptions": options}


def _operation(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if operation.about:
        said["description"] = operation.about
    said["x-cortex-dialect"] = operation.dialect.name
    said["parameters"] = [*_in_path(operation.path), *_in_query(operation)]
    if operation.route is not None:
        said |= _at_engine(operation)
    if operation.body:
        said["requestBody"] = {"required": True, "content": _body_content(operation)}
    said["responses"] = {"200": _answer(operation), **_other(operation), **_failures(operation)}
    if operation.is_open:
        said["security"] = []
    if operation.is_on_metrics_door:
        said["servers"] = [{"url": "http://localhost:9100", "description": "`metrics_listen` in `[gateway]`"}]
    return said


def _at_engine(operation: Operation) -> dict[str, Any]:
    route = operation.route
    assert route is not None
    said: dict[str, Any] = {
        "x-cortex-operation": route.operation,
        "x-cortex-engine-path": (route.engine_path or route.path).decode(),
        "x-cortex-streams": route.ends_with_done,
    }
    example = example_of(route)
    if example is not None and example.sent is not None:
        said["x-cortex-sent"] = example.sent
    return said


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _in_query(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in operation.query.items()
    ]


def _body_content(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": ref(operation.body)}
    if operation.path in REQUESTS:
        content["example"] = REQUESTS[operation.path]
    is_upload = operation.route is not None and operation.route.is_upload
    return {"multipart/form-data": content, "application/json": content} if is_upload else {"application/json": content}


def _answer(operation: Operation) -> dict[str, Any]:
    route = operation.route
    content: dict[str, Any] = {"schema": ref(operation.answer) if operation.answer else _no_schema(operation.media)}
    said: dict[str, Any] = {
        "description": "Done.",
        "headers": _headers(operation),
        "content": {operation.media: content},
    }
    example = None if route is None else example_of(route)
    if example is not None and example.answer is not None:
        content["example"] = example.answer
    if route is not None and route.ends_with_done:
        said["description"] = f"{_STREAMED[route.dialect.name]} {_BROKEN_OFF}"
        stream: dict[str, Any] = {"schema": {"type": "string"}}
        if example is not None and example.stream:
            stream["example"] = example.stream
        said["content"][route.dialect.stream_type.decode()] = stream
    return said


def _no_schema(media: str) -> Schema:
    return OBJECT if media == "application/json" else {"type": "string"}


def _headers(operation: Operation) -> dict[str, Any]:
    is_own = operation.route is None or operation.dialect.translate is not None
    names = [*operation.headers, *([] if operation.is_on_metrics_door else ["x-request-id"])]
    names += ["request-id"] * (operation.dialect.name == "anthropic" and is_own)
    if operation.route is not None:
        names += limits_of(operation.dialect.name)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _other(operation: Operation) -> dict[str, Any]:
    return {
        str(status): {"description": about, "content": {"application/json": {"schema": ref(operation.answer)}}}
        for status, about in operation.other_statuses.items()
    }


def _failures(operation: Operation) -> dict[str, Any]:
    dialect = operation.dialect.name
    own = (
        statuses(dialect)
        if operation.route is not None
        else sorted({status_of(an_error(kind), dialect) for kind in operation.errors} | {500})
    )
    named = {
        str(status): {"$ref": f"#/components/responses/{response_name(dialect, status)}"}
        for status in own
        if status != 405 and status not in operation.other_statuses
    }
    other = {"description": "Something else.", "content": {"application/json": {"schema": ref(envelope_of(dialect))}}}
    return {**named, "default": other}
