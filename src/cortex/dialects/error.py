"""Error envelopes of the client-facing dialects. HTTP status codes are decided elsewhere (``gateway/edge_error``).

OpenAI: ``{"error": {"message", "type", "param", "code"}}``, as a body or as one last ``data:`` event of a stream.
Plain, of our own API: ``{"error": {"code", "message", "details"}}``, as a neuron has it.
"""

import msgspec

from cortex.contract.error import (
    CallerError,
    CapacityError,
    CortexError,
    ModelMissing,
    ModelNotFound,
    QuotaExhausted,
    TooManyRequests,
    UpstreamError,
)

_encode = msgspec.json.Encoder(enc_hook=str).encode


def openai_type(error: CortexError) -> str:
    """The ``type`` that OpenAI's SDKs and the engines use for this family of errors."""
    if isinstance(error, QuotaExhausted):
        return "insufficient_quota"
    if isinstance(error, TooManyRequests):
        return "rate_limit_error"
    if isinstance(error, CallerError):
        return "invalid_request_error"
    if isinstance(error, CapacityError):
        return "unavailable_error"
    return "upstream_error" if isinstance(error, UpstreamError) else "server_error"


def openai_body(error: CortexError) -> bytes:
    """The whole answer to a request that failed before its first byte; ``details`` ride along when there are any."""
    inner: dict[str, object] = {
        "message": error.message,
        "type": openai_type(error),
        "param": error.details.get("param", _param(error)),
        "code": error.code,
    }
    details = {key: value for key, value in error.details.items() if key not in ("param", "headers")}
    if details:
        inner["details"] = details
    return _encode({"error": inner})


def plain_body(error: CortexError) -> bytes:
    """The whole answer of our own API to a call that failed."""
    return _encode({"error": {"code": error.code, "message": error.message, "details": error.details}})


def openai_event(error: CortexError) -> bytes:
    """The final event of a stream that failed after its first byte; the SDKs raise on it."""
    return b"data: " + openai_body(error) + b"\n\n"


def _param(error: CortexError) -> str | None:
    return "model" if isinstance(error, ModelMissing | ModelNotFound) else None
