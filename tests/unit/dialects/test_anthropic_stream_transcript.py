"""Streams as engines write them, whole, byte by byte and cut at random: always the same message.

The transcripts in ``tests/data/transcript`` were written by hand after what each engine was seen to send.
"""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dialects.anthropic_answering import answering, shown
from tests.unit.dialects.anthropic_checker import Checker, checked, events_of

from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.translating_tap import TranslatingTap

TRANSCRIPTS = Path(__file__).parents[2] / "data" / "transcript"

SAID: dict[str, tuple[list[Any], str, tuple[int, int, int]]] = {
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
"""Blocks, stop reason, and tokens: input, cached, output."""
FAILED = {"mistralrs_error": "failed to process", "vllm_error": "EngineCore encountered an issue"}


def transcript(name: str) -> bytes:
    return (TRANSCRIPTS / f"{name}.sse").read_bytes()


def replayed(pieces: list[bytes]) -> bytes:
    tap = TranslatingTap(AnthropicWriter(answering(stop=("END",))))
    return b"".join([tap.feed(piece, 0.0) for piece in pieces]) + tap.close()


@pytest.mark.parametrize("name", SAID)
def test_a_transcript_is_this_message(name: str) -> None:
    content, reason, tokens = SAID[name]
    found = checked(replayed([transcript(name)])).result()
    assert (shown(found["content"]), found["stop_reason"]) == (content, reason)
    usage = found["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == tokens


@pytest.mark.parametrize("name", FAILED)
def test_a_transcript_with_an_error_ends_in_that_error(name: str) -> None:
    error = checked(replayed([transcript(name)])).error
    assert error is not None
    assert FAILED[name] in error["message"]


def test_an_engine_that_vanishes_leaves_no_end() -> None:
    checker = Checker()
    for event in events_of(replayed([transcript("mistralrs_unloaded")])):
        checker.take(event)
    assert checker.message is not None
    assert checker.message["stop_reason"] is None


@pytest.mark.parametrize("name", [path.stem for path in sorted(TRANSCRIPTS.glob("*.sse"))])
def test_how_a_transcript_is_cut_makes_no_difference(name: str) -> None:
    stream = transcript(name)
    expected = replayed([stream])
    assert replayed([bytes([byte]) for byte in stream]) == expected
    draw = random.Random(name)
    for _ in range(10):
        edges = [0, *sorted(draw.sample(range(1, len(stream)), 6)), len(stream)]
        assert replayed([stream[start:end] for start, end in pairwise(edges)]) == expected
