"""One chunk of an engine's stream, or its whole answer, as typed data: what ``chat_reader`` looks at.

Well-formed JSON of the documented types, which is nearly every chunk, is decoded straight into the structs; anything
else is read leniently: a member of a wrong type is as good as none, texts may end in half a character. Nothing is
decided here but what counts as a chunk at all.

Source: OpenAI's chunk object; llama.cpp, mistral.rs, vLLM and SGLang as noted at the members (read 2026-10 and -11).
"""

import json
from typing import Annotated, Any, TypeVar

import msgspec

from cortex.dialects.usage import MAX_TOKENS, plausible

Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
"""A count that can be one. With any other a chunk is read leniently, and the count is not there."""


class Function(msgspec.Struct):
    """``arguments`` is text where engines follow OpenAI, an object where they do not."""

    name: str | None = None
    arguments: object = None


class CallPiece(msgspec.Struct):
    """A tool call or a fragment of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    """What a chunk adds. A whole answer has the same under ``message``."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """mistral.rs and newer vLLM; some engines send both names with the same text."""
    tool_calls: list[CallPiece] | None = None
    function_call: Function | None = None
    """OpenAI's way before ``tool_calls``."""
    refusal: str | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: Tokens | None = None


class TokenCounts(msgspec.Struct):
    """``usage``."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Timings(msgspec.Struct):
    """llama.cpp's, on the finishing chunk; stands in for a ``usage`` that did not come."""

    prompt_n: Tokens | None = None
    cache_n: Tokens | None = None
    predicted_n: Tokens | None = None


class Choice(msgspec.Struct):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_sequence: str | None = None
    """mistral.rs: the stop sequence that was met."""
    stop_reason: int | str | None = None
    """vLLM: the same; a number is the id of a token."""
    matched_stop: int | str | None = None
    """SGLang: the same."""
    stopping_word: str | None = None
    """llama.cpp, where it says it."""
    usage: TokenCounts | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    timings: Timings | None = None


_decode = msgspec.json.Decoder(Chunk).decode
_S = TypeVar("_S", bound=msgspec.Struct)


def read_chunk(payload: bytes) -> Chunk:
    """Return what a payload says; one that is no JSON object, or an error of another shape, is an error chunk."""
    try:
        chunk = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lenient_chunk(payload)
    if chunk.choices is None and chunk.usage is None and chunk.error is None:
        return _lenient_chunk(payload)
    return chunk


def _lenient_chunk(payload: bytes) -> Chunk:
    # Bytes that are no UTF-8 become surrogates, and half a surrogate pair stays what it is: ``surrogate`` joins both.
    words = payload.decode("utf-8", "surrogateescape")
    try:
        found = json.loads(words, strict=False)
    except (ValueError, RecursionError):
        return Chunk(error=payload.decode("utf-8", "replace"))
    if not isinstance(found, dict):
        return Chunk(error=found if isinstance(found, str) else "It sent a chunk that is no JSON object.")
    return _chunk(found)


def _chunk(found: dict[str, Any]) -> Chunk:
    choices = found.get("choices")
    return Chunk(
        choices=[_choice(each) for each in choices if isinstance(each, dict)] if isinstance(choices, list) else None,
        usage=_counts(found.get("usage")),
        error=found.get("error") or _bare_error(found),
        timings=_ints(Timings, found.get("timings")),
    )


def _bare_error(found: dict[str, Any]) -> object:
    """mistral.rs <= 0.9.2 says ``{"message"}``, SGLang ``{"object": "error", "message"}``, FastAPI ``{"detail"}``."""
    is_error = found.get("object") == "error" or ("choices" not in found and ("message" in found or "detail" in found))
    return found if is_error else None


def _choice(found: dict[str, Any]) -> Choice:
    reason = found.get("finish_reason")
    if isinstance(reason, dict):  # SGLang's native form: {"type": "stop", "matched": …}
        found = {"matched_stop": reason.get("matched"), **found}
        reason = reason.get("type")
    return Choice(
        index=_index(found.get("index")),
        delta=_delta(found.get("delta")),
        message=_delta(found.get("message")),
        text=_text(found.get("text")),
        finish_reason=_text(reason),
        stop_sequence=_text(found.get("stop_sequence")),
        stop_reason=_text(found.get("stop_reason")),
        matched_stop=_text(found.get("matched_stop")),
        stopping_word=_text(found.get("stopping_word")),
        usage=_counts(found.get("usage")),
    )


def _delta(found: object) -> Delta | None:
    if not isinstance(found, dict):
        return None
    calls = found.get("tool_calls")
    return Delta(
        content=_content(found.get("content")),
        reasoning_content=_content(found.get("reasoning_content")),
        reasoning=_content(found.get("reasoning")),
        tool_calls=[_piece(each) for each in calls if isinstance(each, dict)] if isinstance(calls, list) else None,
        function_call=_function(found.get("function_call")),
        refusal=_text(found.get("refusal")),
    )


def _piece(found: dict[str, Any]) -> CallPiece:
    return CallPiece(
        index=_index(found.get("index")), id=_text(found.get("id")), function=_function(found.get("function"))
    )


def _function(found: object) -> Function | None:
    if not isinstance(found, dict):
        return None
    return Function(name=_text(found.get("name")), arguments=found.get("arguments"))


def _content(found: object) -> str | None:
    """Text, or a list of parts of which some have text."""
    if isinstance(found, list):
        return "".join(_text(part.get("text")) or "" for part in found if isinstance(part, dict))
    return _text(found)


def _counts(found: object) -> TokenCounts | None:
    counts = _ints(TokenCounts, found)
    if counts is not None and isinstance(found, dict):
        counts.prompt_tokens_details = _ints(PromptDetails, found.get("prompt_tokens_details"))
        counts.completion_tokens_details = _ints(CompletionDetails, found.get("completion_tokens_details"))
    return counts


def _ints(kind: type[_S], found: object) -> _S | None:
    """Read a struct of numbers; what is none is left out."""
    if not isinstance(found, dict):
        return None
    return kind(**{name: _number(found[name]) for name in kind.__struct_fields__ if name in found})


def _number(found: object) -> int | None:
    is_whole = (isinstance(found, int) and not isinstance(found, bool)) or (
        isinstance(found, float) and found.is_integer()
    )
    return plausible(int(found)) if is_whole and isinstance(found, int | float) else None


def _index(found: object) -> int | None:
    return int(found) if isinstance(found, str) and found.isdecimal() and len(found) < 10 else _number(found)


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None
