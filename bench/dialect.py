"""The dialects in which gateways are asked for the upstream's stream: where, with which body, and how it ends.

The upstream speaks OpenAI's chat only; whoever is asked in another dialect translates. The orders to the upstream stand
in the first words that the user says, which every translation keeps.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

from bench.peer.interface import MODEL


class Dialect(NamedTuple):
    """``body`` makes a streamed request of what the user says; ``end`` stands in the last bytes of a whole stream."""

    name: str
    title: str
    path: str
    end: str
    body: Callable[[str], dict[str, object]]


def orders(chunks: int, interval_us: int, *, is_spread: bool) -> str:
    """Return what the upstream looks for: how many chunks, how far apart, and whether streams start out of step."""
    return f"@bench n={chunks} i={interval_us} r={int(is_spread)} k=0; "


def encoded(body: dict[str, object]) -> bytes:
    """Return a body as a client's JSON library writes it: UTF-8, without blanks."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _chat(words: str) -> dict[str, object]:
    return {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": words}]}


def _anthropic(words: str) -> dict[str, object]:
    return {**_chat(words), "max_tokens": 32_000}


def _responses(words: str) -> dict[str, object]:
    return {"model": MODEL, "stream": True, "store": False, "input": words}


OPENAI = Dialect("openai", "OpenAI chat", "/v1/chat/completions", "[DONE]", _chat)
ANTHROPIC = Dialect("anthropic", "Anthropic messages", "/v1/messages", "message_stop", _anthropic)
RESPONSES = Dialect("responses", "OpenAI Responses", "/v1/responses", "response.completed", _responses)
OLLAMA = Dialect("ollama", "Ollama chat", "/api/chat", '"done":true', _chat)

TRANSLATED = (ANTHROPIC, RESPONSES, OLLAMA)
