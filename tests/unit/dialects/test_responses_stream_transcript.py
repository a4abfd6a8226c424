"""Streams as engines write them, whole, byte by byte and cut at random: always the same response."""

import json
from typing import Any

from tests.unit.dialects.responses_checker import checked, events_of
from tests.unit.dialects.responses_scene import translated
from tests.unit.dialects.transcript import (
    FAILED,
    SAID,
    VANISHED,
    cut_anywhere,
    of_all,
    of_failed,
    of_said,
    replayed,
    transcript,
)

TOOLS = [{"type": "function", "name": name, "parameters": {}} for name in ("get_weather", "read", "list")]


def told(*pieces: bytes) -> bytes:
    return replayed(translated(stream=True, tools=TOOLS).writer(), *pieces)


def shown(item: dict[str, Any]) -> tuple[str, Any]:
    if item["type"] == "function_call":
        return item["name"], json.loads(item["arguments"])
    if item["type"] == "reasoning":
        return "thinking", item["summary"][0]["text"]
    return "text", item["content"][0]["text"]


@of_said
def test_a_transcript_is_this_response(name: str) -> None:
    content, _, (fresh, cached, output) = SAID[name]
    found = checked(told(transcript(name)))
    assert (found["status"], [shown(item) for item in found["output"]]) == ("completed", content)
    usage = found["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (fresh + cached, output)
    assert usage["input_tokens_details"]["cached_tokens"] == cached


@of_failed
def test_a_transcript_with_an_error_ends_in_that_error(name: str) -> None:
    found = checked(told(transcript(name)))
    assert found["status"] == "failed"
    assert FAILED[name] in found["error"]["message"]


def test_an_engine_that_vanishes_leaves_no_end() -> None:
    kinds = [event["type"] for event in events_of(told(transcript(VANISHED)))]
    assert kinds[0] == "response.created"
    assert not {"response.completed", "response.incomplete", "response.failed"} & set(kinds)


@of_all
def test_how_a_transcript_is_cut_makes_no_difference(name: str) -> None:
    expected = told(transcript(name))
    for pieces in cut_anywhere(name):
        assert told(*pieces) == expected
