"""Decides whether an engine's words say that a request is too long for its context, and by how much.

Engines say so in sentences of their own; those that are known stand in one table. Called by ``engine_error`` alone.

Source: llama.cpp (PR 15780 and the 2026-10 server), mistral.rs 0.9.5 run 2026-10, and what users of vLLM (issues 20409,
33418), SGLang (issues 4048, 8096), llama-cpp-python and text-generation-inference quote; OpenAI's ``code``.
"""

import re

import msgspec


class Overflow(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is too long. ``prompt_tokens``: what the prompt has, or all together where an engine says no more;
    ``answer_tokens``: what was asked for the answer besides. None is not known."""

    prompt_tokens: int | None = None
    context: int | None = None
    answer_tokens: int | None = None


_MAX_READ = 4000
"""Characters that are looked at; a sentence comes well before."""

_N, _M, _R = r"(?P<n>\d{1,15})", r"(?P<m>\d{1,15})", r"(?P<r>\d{1,15})"
"""What the prompt takes (or all together, where nothing else is said), what there is, what was asked for the answer."""

_SENTENCES = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # llama-server
        rf"request \({_N} tokens\) exceeds the available context size \({_M} tokens\)",
        # llama-server, embeddings: an input must fit one batch
        rf"input \({_N} tokens\) is too (?:large|long) to process.{{0,200}}?batch size: {_M}",
        # mistral.rs
        rf"prompt sequence length is greater than {_M}",
        # vLLM, of max_tokens
        rf"is too large: {_R}\..{{0,40}}?maximum context length is {_M} tokens and your request has {_N} input tokens",
        # vLLM >= 0.12
        rf"passed {_N} input tokens and requested {_R} output tokens.{{0,80}}?context length is only {_M} tokens",
        # vLLM since 2026, which stops counting where it is too much
        rf"maximum context length is {_M} tokens.{{0,40}}?requested (?P<r>[1-9]\d{{0,14}}) output tokens and your "
        r"prompt contains ",
        # vLLM before that, OpenAI
        rf"maximum context length is {_M} tokens.{{0,80}}?requested (?:about )?\d{{1,15}} tokens \({_N} (?:of text )?"
        rf"(?:in|from) the (?:messages|prompt|input)[^,]{{0,20}}, {_R} (?:in|for) the completion",
        # vLLM, OpenAI
        rf"maximum context length is {_M} tokens.{{0,80}}?(?:requested|resulted in|request has|contains) "
        rf"(?:at least |about )?{_N} (?:input )?tokens",
        # vLLM's engine
        rf"prompt \(length {_N}\) is longer than the maximum model length of {_M}",
        # SGLang
        rf"maximum context length of {_M} tokens.{{0,40}}?requested a total of \d{{1,15}} tokens: {_N} tokens from the "
        rf"input messages and {_R} tokens for the completion",
        rf"maximum context length of {_M} tokens.{{0,40}}?requested a total of {_N} tokens",
        rf"\({_N} tokens\) is longer than the model's context length \({_M} tokens\)",
        rf"input length \({_N} tokens\) exceeds the maximum allowed length \({_M} tokens\)",
        # llama-cpp-python
        rf"requested tokens \({_N}\) exceed context window of {_M}",
        # text-generation-inference
        rf"`inputs` tokens \+ `max_new_tokens` must be <= {_M}\. given: {_N} `inputs` tokens and {_R} `max_new_tokens`",
        rf"`inputs` must have less than {_M} tokens\. given: {_N}",
        # TabbyAPI
        rf"prompt length {_N} is greater than max_seq_len {_M}",
        # Anthropic
        rf"prompt is too long: {_N} tokens > {_M} maximum",
    )
)

_MARKS = re.compile(
    r"exceeds? (?:the )?(?:available |model's |model |maximum )*context|exceed_context_size|context_length_exceeded"
    r"|context[ _](?:window|length|size)[ _](?:is )?exceeded|maximum context length is \d+ tokens\. however"
    r"|(?:input|prompt)(?: \([^)]{0,40}\))? is too (?:long|large to process)\b",
    re.IGNORECASE,
)
"""Words that say it without numbers that could be read."""


def find_overflow(words: str) -> Overflow | None:
    """Return what an engine's words say of a request that is too long; None when they do not say that it is."""
    words = words[:_MAX_READ]
    for sentence in _SENTENCES:
        if found := sentence.search(words):
            counts = {name: int(digits) for name, digits in found.groupdict().items()}
            return Overflow(prompt_tokens=counts.get("n"), context=counts["m"], answer_tokens=counts.get("r"))
    return Overflow() if _MARKS.search(words) else None
