"""Requests as Ollama's clients send them, and a mint whose ids and clock are known."""

import json
from collections.abc import Iterator
from itertools import count

from cortex.dialects.engine import GENERIC
from cortex.dialects.interface import Mint
from cortex.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE, OllamaTranslation

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def a_mint(times_s: Iterator[float] | None = None) -> Mint:
    """A mint whose ids are counted; with ``times_s`` its clock says those, one after the other."""
    numbers = count(1)
    return Mint(
        epoch_s=1_700_000_000.25,
        new_id=lambda prefix: f"{prefix}{next(numbers)}",
        elapsed_s=None if times_s is None else lambda: next(times_s),
    )


def chat(mint: Mint | None = None, **members: object) -> OllamaTranslation:
    """A translation of ``/api/chat``."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    return OLLAMA_CHAT.translate(json.dumps(asked).encode(), mint or a_mint())


def generate(mint: Mint | None = None, **members: object) -> OllamaTranslation:
    """A translation of ``/api/generate``."""
    asked = {"model": "m", "prompt": "Hi", **members}
    return OLLAMA_GENERATE.translate(json.dumps(asked).encode(), mint or a_mint())


def sent(translation: OllamaTranslation) -> dict[str, object]:
    """What an engine of which nothing is known gets."""
    body: dict[str, object] = json.loads(translation.body(GENERIC, "engine-name", None))
    return body


def lines(stream: bytes) -> list[dict[str, object]]:
    """The objects of a stream, each of which must stand on a line of its own."""
    assert stream == b"" or stream.endswith(b"\n")
    return [json.loads(line) for line in stream.splitlines()]
