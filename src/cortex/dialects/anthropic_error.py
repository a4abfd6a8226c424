"""Error envelopes of Anthropic's dialect. HTTP statuses are decided elsewhere (``gateway/edge_error``) and handed in.

``{"type": "error", "error": {"type", "message"}, "request_id"}``, as a body or as the last event of a stream.

Source: Anthropic's API reference, "Errors" (2026-10); what Claude Code 2.1.197 reads in a message (run 2026-11).
"""

import msgspec

from cortex.contract.error import (
    BodyTooLarge,
    CallerError,
    CapacityError,
    ContextExceeded,
    CortexError,
    Forbidden,
    KeyForbidden,
    ModelNotFound,
    PathNotFound,
    ThreadUnsupported,
    TooManyRequests,
    Unauthorized,
    UpstreamTimeout,
)

_encode = msgspec.json.encode

_TYPE_OF_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_TYPE_OF_CLASS: tuple[tuple[type[CortexError], str], ...] = (
    (Unauthorized, "authentication_error"),
    (Forbidden, "permission_error"),
    (KeyForbidden, "permission_error"),
    (ModelNotFound, "not_found_error"),
    (PathNotFound, "not_found_error"),
    (BodyTooLarge, "request_too_large"),
    (TooManyRequests, "rate_limit_error"),
    (CallerError, "invalid_request_error"),
    (CapacityError, "overloaded_error"),
    (UpstreamTimeout, "timeout_error"),
)
"""For an error that comes within a stream and has no status; the first that fits."""


def anthropic_type(error: CortexError, status: int | None = None) -> str:
    """The ``type`` that Anthropic's clients know this error by."""
    if status is None:
        return next((name for kind, name in _TYPE_OF_CLASS if isinstance(error, kind)), "api_error")
    return _TYPE_OF_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")


def anthropic_body(error: CortexError, status: int | None, request_id: str) -> bytes:
    """The whole answer to a request that failed; ``request_id`` is left out when it is empty."""
    told: dict[str, object] = {"type": anthropic_type(error, status), "message": _message(error)}
    if isinstance(error, ThreadUnsupported):
        # What the SDK's tool runner looks for before it goes on by itself without a thread (2.14, read 2026-11).
        told["details"] = {"error_code": error.code, "unsupported": []}
    body: dict[str, object] = {"type": "error", "error": told}
    if request_id:
        body["request_id"] = request_id
    return _encode(body)


def anthropic_event(error: CortexError, status: int | None, request_id: str = "") -> bytes:
    """The last event of a stream that failed; the SDKs raise on it, Claude Code asks again."""
    return b"event: error\ndata: %b\n\n" % anthropic_body(error, status, request_id)


def _message(error: CortexError) -> str:
    """Claude Code takes both numbers out of this very sentence, and offers to compact the conversation."""
    if not isinstance(error, ContextExceeded) or "max_tokens" in error.details:  # compacting is not what helps then
        return error.message
    prompt, context = error.details.get("prompt_tokens"), error.details.get("context")
    if prompt is None or context is None:
        return f"prompt is too long: {error.message}"
    return f"prompt is too long: {prompt} tokens > {context} maximum"
