"""How things go wrong: every error that clients may be told, with status and envelope as each dialect has them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from cortex.contract import error as e
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.interface import Dialect
from cortex.dialects.ollama import OLLAMA_CHAT
from cortex.dialects.openai import OPENAI
from cortex.dialects.responses import RESPONSES
from cortex.gateway.data.reference.shape import OBJECT, TEXT, Schema, noted, nullable, one_of, ref, shape
from cortex.gateway.edge_error import retry_after_s, status_of

DIALECTS: tuple[Dialect, ...] = (OPENAI, RESPONSES, ANTHROPIC, OLLAMA_CHAT)

REQUEST_ID = "req-5f1c09ab-2a"

NOT_TOLD = (e.ConfigError, e.JsonRequired, e.KeyNotFound, e.NodeNotFound, e.NodeRefused)
"""What happens before there is a gateway, and what the admin API alone has."""

_OF_CALLER: tuple[type[e.CortexError], ...] = (
    e.CallerError,
    e.MalformedRequest,
    e.ModelMissing,
    e.ContextExceeded,
    e.EngineRefused,
    e.Unauthorized,
    e.Forbidden,
    e.KeyForbidden,
    e.ModelNotFound,
    e.PathNotFound,
    e.MethodNotAllowed,
    e.BodyTooLarge,
    e.UnsupportedEncoding,
    e.TooManyRequests,
    e.RateLimited,
    e.QuotaExhausted,
    e.TokensExceedLimit,
    e.HeadersTooLarge,
)
_OF_GATEWAY: tuple[type[e.CortexError], ...] = (
    e.CortexError,
    e.UpstreamError,
    e.UpstreamUnreachable,
    e.UpstreamBroken,
    e.EngineFailed,
    e.PoisonRequest,
    e.CapacityError,
    e.EngineBusy,
    e.QueueFull,
    e.BuffersFull,
    e.NoRoom,
    e.NoHealthyNode,
    e.ModelLoading,
    e.LoadFailed,
    e.StoreUnavailable,
    e.ShuttingDown,
    e.UpstreamTimeout,
    e.LoopDetected,
)
_OF_DIALECT: dict[str, tuple[type[e.CortexError], ...]] = {
    "anthropic": (e.ImageUnavailable, e.ThreadUnsupported),
    "responses": (e.ImageUnavailable, e.PreviousResponseNotFound, e.ResponseNotFound),
}

_SAID: dict[type[e.CortexError], dict[str, Any]] = {
    e.ModelNotFound: {"model": "qwen"},
    e.ContextExceeded: {"prompt_tokens": 9000, "context": 8192},
    e.RateLimited: {"key": "ci", "limit": "requests_per_minute", "retry_in_s": 12.5},
    e.ModelLoading: {"state": "loading", "node": "beast", "progress": 0.4, "eta_s": 20, "retry_in_s": 20},
}
"""Details of examples."""

ENVELOPES: dict[str, Schema] = {
    "OpenaiError": shape("OpenAI's envelope.", {"error": ref("OpenaiErrorBody")}),
    "OpenaiErrorBody": shape(
        "What is wrong.",
        {
            "message": TEXT,
            "type": one_of(
                *("invalid_request_error", "rate_limit_error", "insufficient_quota", "unavailable_error"),
                *("upstream_error", "server_error"),
            ),
            "param": noted(nullable(TEXT), "The member or header that is meant."),
            "code": ref("ErrorCode"),
        },
        {"details": noted(OBJECT, "The facts: nodes, reasons, the engine's last lines.")},
    ),
    "AnthropicError": shape(
        "Anthropic's envelope.", {"type": one_of("error"), "error": ref("AnthropicErrorBody")}, {"request_id": TEXT}
    ),
    "AnthropicErrorBody": shape(
        "What is wrong.",
        {
            "type": one_of(
                *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
                *("request_too_large", "rate_limit_error", "api_error", "timeout_error", "overloaded_error"),
            ),
            "message": TEXT,
        },
        {"details": noted(OBJECT, "What the SDKs look for with a `thread`.")},
    ),
    "OllamaError": shape("Ollama's envelope.", {"error": TEXT}),
}
"""Schemas of what errors look like, by name."""


def envelope_of(dialect: str) -> str:
    """Return the name of the envelope that a dialect has over HTTP."""
    return {"anthropic": "AnthropicError", "ollama": "OllamaError"}.get(dialect, "OpenaiError")


def told_in(dialect: str) -> tuple[type[e.CortexError], ...]:
    """Return the errors that a client of a dialect may be told."""
    return (*_OF_CALLER, *_OF_DIALECT.get(dialect, ()), *_OF_GATEWAY)


def an_error(kind: type[e.CortexError]) -> e.CortexError:
    """Return one of a kind, for an example."""
    return kind(**_SAID.get(kind, {}))


def table() -> list[dict[str, Any]]:
    """Return every error once: its code, its status by dialect, when to ask again."""
    kinds = dict.fromkeys(kind for dialect in DIALECTS for kind in told_in(dialect.name))
    return [
        {
            "code": kind.code,
            "message": an_error(kind).message,
            "retryable": kind.retryable,
            "status": {
                dialect.name: status_of(an_error(kind), dialect.name)
                for dialect in DIALECTS
                if kind in told_in(dialect.name)
            },
        }
        for kind in sorted(kinds, key=lambda kind: (status_of(an_error(kind)), kind.code))
    ]


def code_schema() -> Schema:
    """Return the schema of ``code``."""
    return {
        "type": "string",
        "description": "Stable; programs compare that. An engine's own error that is passed on has the engine's words.",
        "examples": sorted(row["code"] for row in table()),
    }


def responses() -> dict[str, Any]:
    """Return the answers to requests that fail, by dialect and status, as components."""
    found: dict[str, Any] = {}
    for dialect in DIALECTS:
        by_status: dict[int, list[type[e.CortexError]]] = {}
        for kind in told_in(dialect.name):
            by_status.setdefault(status_of(an_error(kind), dialect.name), []).append(kind)
        for status, kinds in sorted(by_status.items()):
            found[response_name(dialect.name, status)] = _response(dialect, status, kinds)
    return found


def response_name(dialect: str, status: int) -> str:
    """Return the name of the component for a status."""
    return f"{dialect.capitalize()}{status}"


def statuses(dialect: str) -> list[int]:
    """Return the statuses that a dialect may answer with when something fails."""
    return sorted({status_of(an_error(kind), dialect) for kind in told_in(dialect)})


def _response(dialect: Dialect, status: int, kinds: Iterable[type[e.CortexError]]) -> dict[str, Any]:
    errors = [an_error(kind) for kind in kinds]
    headers = ["x-request-id", "x-should-retry"]
    headers += ["request-id"] * (dialect.name == "anthropic") + ["www-authenticate"] * (status == 401)
    headers += ["retry-after"] * any(retry_after_s(error) is not None for error in errors)
    return {
        "description": "; ".join(f"`{error.code}`: {error.message}" for error in errors),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(headers)},
        "content": {
            "application/json": {
                "schema": ref(envelope_of(dialect.name)),
                "examples": {error.code: {"value": _body(dialect, error, status)} for error in errors},
            }
        },
    }


def _body(dialect: Dialect, error: e.CortexError, status: int) -> Any:
    return msgspec.json.decode(dialect.error_body(error, status, REQUEST_ID))
