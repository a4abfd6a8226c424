"""How many tokens an answer cost, read from what engines append to it. Unknown is None, never 0.

Source: llama.cpp ``usage`` (OpenAI), ``tokens_evaluated``/``tokens_predicted`` (its native endpoints), measured on the
2026-10 server; mistral.rs' /v1/completions stream carries none at all.
"""

import re

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one answer as its engine reported them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Body(msgspec.Struct):
    usage: Usage | None = None
    tokens_evaluated: int | None = None
    tokens_predicted: int | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_usage = msgspec.json.Decoder(Usage).decode
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}"]|"(?:[^"\\]|\\.)*"|\{[^{}]*\})*\})')


def read_usage(body: bytes) -> Usage | None:
    """Usage of a whole JSON answer or of one chunk of a stream; None when it has none or is not JSON."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.usage is not None:
        return found.usage if found.usage != Usage() else None
    if found.tokens_predicted is None:
        return None
    return Usage(found.tokens_evaluated, found.tokens_predicted, (found.tokens_evaluated or 0) + found.tokens_predicted)


def read_usage_in_tail(tail: bytes) -> Usage | None:
    """Usage from the last few KiB of a JSON answer that was too large to keep whole."""
    matches = _USAGE_OBJECT.findall(tail)
    if not matches:
        return None
    try:
        return _decode_usage(matches[-1])
    except msgspec.DecodeError:
        return None
