"""One mapper for what engines answer instead of an answer: every shape of error they have, to cortex's own errors.

It decides whose fault it was (the request's, the engine's, nobody's), so that each dialect can say it in its own way.
It does not decide HTTP statuses (``gateway/edge_error``), nor whether another engine is tried.

Shapes: ``{"error": {"message", "type", "code", …}}`` (llama-server, mistral.rs >= 0.9.3, vLLM), ``{"error": "…"}``
(text-generation-inference), ``{"message": "…"}`` (mistral.rs <= 0.9.2, also with ``partial_response``; SGLang with
``"object": "error"``), ``{"detail": …}`` (FastAPI), plain text (axum, proxies), nothing at all.
"""

import re

import msgspec

from cortex.contract.error import (
    BodyTooLarge,
    ContextExceeded,
    CortexError,
    EngineBusy,
    EngineFailed,
    EngineRefused,
)
from cortex.dialects.engine_overflow import Overflow, find_overflow
from cortex.dialects.surrogate import well_formed

MAX_WORDS = 1000
"""Characters of an engine's own message that a caller is shown."""

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "not_supported_error": 501,
    "unavailable_error": 503,
    "service_unavailable": 503,
    "overloaded_error": 503,
}
"""What an error within a stream would have been as an answer of its own; anything else is a 500."""

_BUSY = frozenset({409, 429, 503, 529})
"""409: mistral.rs has the model on its way in or out (``model_state_conflict``)."""

_NOT_OFFERED = frozenset({405, 501})

_REFUSED_THOUGH_5XX = re.compile(
    # llama-server without a projector, 500 (run 2026-10); a template that raises; what mistral.rs <= 0.9.2 parses.
    r"(?:image|audio|video) input is not supported|jinja exception|roles must alternate"
    r"|failed to parse grammar|failed to initialize samplers|'?messages'? is required",
    re.IGNORECASE,
)
"""Words of an engine that answers 5xx to a request that will never be right, however often it is sent."""

_BUSY_THOUGH_500 = re.compile(r"is being reloaded|loading model\b|no slot available", re.IGNORECASE)


class _Said(msgspec.Struct, kw_only=True):
    """What was found in an error, whatever its shape."""

    words: str = ""
    type: str = ""
    code: object = None
    param: str | None = None
    overflow: Overflow | None = None


def broken_call() -> EngineFailed:
    """The error for a tool call that cannot be executed: guessing its arguments might do harm."""
    return EngineFailed(
        "The model broke off a tool call: its arguments are no JSON object, so it must not be executed. "
        "Send the request again."
    )


def engine_error(status: int, body: bytes) -> CortexError:
    """Return the error that an engine's answer with a status of 400 or more stands for.

    ``details``: ``engine_status``, and ``param`` when the engine named one.
    """
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = body.decode("utf-8", "replace")
    return _judge(status, _read(parsed))


def stream_error(error_member: object) -> CortexError:
    """Return the error that the ``error`` member of a chunk within a stream stands for.

    ``error_member``: decoded JSON of any kind; an object, a string, in the worst case anything.
    """
    said = _read({"error": error_member})
    if isinstance(said.code, int) and not isinstance(said.code, bool) and 400 <= said.code < 600:
        return _judge(said.code, said)
    return _judge(_STATUS_OF_TYPE.get(said.type.lower(), 500), said)


def room_in(error: CortexError) -> int | None:
    """Return how many tokens an answer may have where an engine refused to be asked for more beside a prompt that fits;
    0: it did not say, but less than was asked for. None for any other error."""
    details = error.details
    if not isinstance(error, ContextExceeded) or "max_tokens" not in details:
        return None
    prompt, context = details.get("prompt_tokens"), details.get("context")
    return context - prompt if isinstance(context, int) and isinstance(prompt, int) else 0


def _read(parsed: object) -> _Said:
    """Find the words, and whatever else is of use, in an error of any shape."""
    if isinstance(parsed, str):
        # A proxy's page of HTML says nothing that its status does not.
        return _Said(words="" if parsed.lstrip().startswith("<") else parsed)
    if not isinstance(parsed, dict):
        return _Said()
    inner = parsed.get("error", parsed)
    if isinstance(inner, str):
        return _Said(words=inner, type=_text(parsed.get("error_type")))
    if not isinstance(inner, dict):
        inner = parsed
    return _Said(
        words=_words(inner),
        type=_text(inner.get("type")),
        code=inner.get("code"),
        param=_text(inner.get("param")) or None,
        overflow=_counted(inner),
    )


def _words(inner: dict[object, object]) -> str:
    detail = inner.get("detail")
    if isinstance(detail, list):
        return "; ".join(_complaint(entry) for entry in detail[:5])
    return _text(inner.get("message")) or _text(detail) or _text(inner.get("msg"))


def _complaint(entry: object) -> str:
    """One of FastAPI's ``detail``: ``{"loc": ["body", "max_tokens"], "msg": "…"}``."""
    if not isinstance(entry, dict):
        return _text(entry)
    place = entry.get("loc")
    where = ".".join(str(step) for step in place if isinstance(step, str | int)) if isinstance(place, list) else ""
    return f"{where}: {_text(entry.get('msg'))}" if where else _text(entry.get("msg"))


def _counted(inner: dict[object, object]) -> Overflow | None:
    """llama-server's ``exceed_context_size_error`` has the numbers beside the message."""
    if inner.get("type") != "exceed_context_size_error":
        return None
    return Overflow(prompt_tokens=_count(inner.get("n_prompt_tokens")), context=_count(inner.get("n_ctx")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _judge(status: int, said: _Said) -> CortexError:
    """Whose fault it was: 1. too long, 2. cortex's own credential, 3. nobody's, 4. the request's, 5. the engine's."""
    if overflow := said.overflow or find_overflow(f"{_text(said.code)} {said.words}"):  # 1
        return _too_long(status, overflow)
    if status in (401, 403):  # 2
        return EngineFailed(
            f"The engine refuses cortex itself (status {status}), not you: its operator has to give the neuron the "
            "credential that the engine wants.",
            engine_status=status,
        )
    details: dict[str, object] = {"engine_status": status}
    if said.param:
        details["param"] = said.param
    if status in _BUSY or (status >= 500 and _BUSY_THOUGH_500.search(said.words)):  # 3
        return EngineBusy(_sentence("The engine takes no more requests now", status, said.words), **details)
    if status == 413:  # 4
        return BodyTooLarge(_sentence("The engine takes no body as large as this", status, said.words), **details)
    if _is_unknown_model(status, said):
        return EngineFailed(_sentence("The engine has lost the model", status, said.words), **details)
    if status in _NOT_OFFERED or status < 500 or _REFUSED_THOUGH_5XX.search(said.words):
        return EngineRefused(_sentence("The engine does not take this request", status, said.words), **details)
    return EngineFailed(_sentence("The engine failed at this request", status, said.words), **details)  # 5


def _is_unknown_model(status: int, said: _Said) -> bool:
    """The engine was sent its own name for the model, so the caller's cannot be wrong."""
    return status == 404 and (said.code == "model_not_found" or "model" in said.words.lower())


def _too_long(status: int, overflow: Overflow) -> ContextExceeded:
    counts = {"prompt_tokens": overflow.prompt_tokens, "context": overflow.context}
    known: dict[str, object] = {name: count for name, count in counts.items() if count is not None}
    room = _room(overflow)
    if room is not None:
        known["max_tokens"] = overflow.answer_tokens
        message = (
            f"The prompt takes {overflow.prompt_tokens} tokens of the {overflow.context} that the model's context has; "
            f"{overflow.answer_tokens} were asked for the answer. Ask for {room} (max_tokens) at most."
        )
    elif overflow.answer_tokens is not None and overflow.prompt_tokens is None:
        known["max_tokens"] = overflow.answer_tokens
        message = (
            f"The prompt, and {overflow.answer_tokens} tokens for the answer besides (max_tokens), take more than the "
            f"{overflow.context} that the model's context has."
        )
    elif len(known) == 2:
        message = f"The request takes {overflow.prompt_tokens} tokens; the model's context has {overflow.context}."
    elif overflow.context is not None:
        message = f"The request takes more than the {overflow.context} tokens that the model's context has."
    else:
        message = None
    return ContextExceeded(message, **known, engine_status=status)


def _room(overflow: Overflow) -> int | None:
    """Return what is left for an answer beside a prompt that fits; None where it does not, or nobody knows."""
    if overflow.prompt_tokens is None or overflow.context is None or overflow.answer_tokens is None:
        return None
    room = overflow.context - overflow.prompt_tokens
    return room if room > 0 else None


def _sentence(what: str, status: int, words: str) -> str:
    words = well_formed(words.strip())
    if not words:
        return f"{what} (status {status}, without a word)."
    return f"{what}: {words[:MAX_WORDS]}{'…' if len(words) > MAX_WORDS else ''}"
