"""Streams as engines write them, what each of them says, and how bytes can be cut. For every dialect's tests.

The transcripts in ``tests/data/transcript`` were written by hand after what each engine was seen to send.
"""

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cortex.dialects.interface import StreamWriter
from cortex.dialects.translating_tap import TranslatingTap

_FOLDER = Path(__file__).parents[2] / "data" / "transcript"

Said = tuple[list[Any], str, tuple[int, int, int]]

SAID: dict[str, Said] = {
    "llamacpp_text": ([("text", "Grüße aus 東京 🗼")], "end_turn", (1, 236, 5)),
    "llamacpp_tool": ([("text", "Let me look."), ("get_weather", {"city": "Paris"})], "tool_use", (1, 236, 5)),
    "mistralrs_tool": (
        [("text", "Checking both."), ("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})],
        "tool_use",
        (310, 0, 23),
    ),
    "vllm_reasoning": ([("thinking", "The user greets."), ("text", "\n\nHello!")], "stop_sequence", (4, 16, 7)),
    "vllm_tool": ([("read", {"path": "a.py"}), ("list", {})], "tool_use", (20, 0, 11)),
    "sglang_parallel": (
        [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})],
        "tool_use",
        (100, 0, 40),
    ),
    "qwen_reasoning_tool": (
        [("thinking", "I need the file.\n"), ("read", {"path": "a.py"})],
        "tool_use",
        (20, 0, 11),
    ),
}
"""Blocks, Anthropic's stop reason, and tokens: input, cached, output."""
FAILED = {"mistralrs_error": "failed to process", "vllm_error": "EngineCore encountered an issue"}
VANISHED = "mistralrs_unloaded"

of_said = pytest.mark.parametrize("name", SAID)
of_failed = pytest.mark.parametrize("name", FAILED)
of_all = pytest.mark.parametrize("name", [path.stem for path in sorted(_FOLDER.glob("*.sse"))])


def transcript(name: str) -> bytes:
    return (_FOLDER / f"{name}.sse").read_bytes()


def replayed(writer: StreamWriter, *pieces: bytes) -> bytes:
    """What the client gets for an engine's bytes."""
    tap = TranslatingTap(writer)
    return b"".join([tap.feed(piece, 0.0) for piece in pieces]) + tap.close()


def cut_anywhere(name: str) -> Iterator[list[bytes]]:
    """A transcript byte by byte, and cut at random."""
    stream = transcript(name)
    yield [bytes([byte]) for byte in stream]
    draw = random.Random(name)
    for _ in range(10):
        edges = [0, *sorted(draw.sample(range(1, len(stream)), 6)), len(stream)]
        yield [stream[start:end] for start, end in pairwise(edges)]
