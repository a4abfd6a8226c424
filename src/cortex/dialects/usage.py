"""How many tokens an answer cost, read from what engines append to it. Unknown is None, never 0.

A count that can be none (negative, or beyond ``MAX_TOKENS``) is unknown: it would be billed, and a counter must not go
down.

Source: llama.cpp ``usage`` (OpenAI), ``tokens_evaluated``/``tokens_predicted`` (its native endpoints), measured on the
2026-10 server; mistral.rs' /v1/completions stream carries none at all.
"""

import re

import msgspec

MAX_TOKENS = 10**9
"""Of one answer; the longest contexts have a hundredth of it."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one answer as its engine reported them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


_NOTHING = Usage()


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
        return _believed(found.usage) if found.usage != _NOTHING else None
    if found.tokens_predicted is None:
        return None
    prompt, completion = plausible(found.tokens_evaluated), plausible(found.tokens_predicted)
    return Usage(prompt, completion, None if completion is None else (prompt or 0) + completion)


def of_all(usage: Usage | None, answers: int, prompts: int = 1, least_prompt: int = 0) -> Usage | None:
    """Return what so many answers to so many prompts cost, of which an engine told one: others are taken for as long.

    ``least_prompt``: what several prompts are taken for together at least; the first may be the shortest.
    """
    if usage is None or answers == 1 or usage.completion_tokens is None:
        return usage
    prompt, completion = usage.prompt_tokens, usage.completion_tokens * answers
    if prompts > 1:
        prompt = max((prompt or 0) * prompts, least_prompt)
    return _believed(Usage(prompt, completion, (prompt or 0) + completion))


def plausible(tokens: int | None) -> int | None:
    """Return a count that can be one; else None."""
    return tokens if tokens is not None and 0 <= tokens <= MAX_TOKENS else None


def _believed(usage: Usage) -> Usage:
    if (
        0 <= (usage.prompt_tokens or 0) <= MAX_TOKENS
        and 0 <= (usage.completion_tokens or 0) <= MAX_TOKENS
        and 0 <= (usage.total_tokens or 0) <= MAX_TOKENS
    ):
        return usage  # as nearly always
    return Usage(plausible(usage.prompt_tokens), plausible(usage.completion_tokens), plausible(usage.total_tokens))


def read_usage_in_tail(tail: bytes) -> Usage | None:
    """Usage from the last few KiB of a JSON answer that was too large to keep whole."""
    matches = _USAGE_OBJECT.findall(tail)
    if not matches:
        return None
    try:
        return _believed(_decode_usage(matches[-1]))
    except msgspec.DecodeError:
        return None
