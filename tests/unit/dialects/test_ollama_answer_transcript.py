"""Streams as engines write them, whole, byte by byte and cut at random: always the same answer."""

from typing import Any

from tests.unit.dialects.ollama_case import chat, lines
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


def told(*pieces: bytes) -> bytes:
    return replayed(chat(stream=True, think=True).writer(), *pieces)


def shown(message: dict[str, Any]) -> list[tuple[str, Any]]:
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = [(function["name"], function["arguments"]) for function in functions]
    thought = [("thinking", message["thinking"])] if message.get("thinking") else []
    return [*thought, *([("text", message["content"])] if message["content"] else []), *calls]


def joined(blocks: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for kind, value in blocks:
        if found and kind in ("text", "thinking") and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + value)
        else:
            found.append((kind, value))
    return found


@of_said
def test_a_transcript_is_this_answer(name: str) -> None:
    content, _, (fresh, cached, output) = SAID[name]
    found: list[Any] = lines(told(transcript(name)))
    assert joined([block for each in found for block in shown(each["message"])]) == content
    last = found[-1]
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (fresh + cached, output)


@of_failed
def test_a_transcript_with_an_error_ends_in_that_error(name: str) -> None:
    error = lines(told(transcript(name)))[-1]["error"]
    assert isinstance(error, str)
    assert FAILED[name] in error


def test_an_engine_that_vanishes_leaves_no_end() -> None:
    assert not any(each["done"] for each in lines(told(transcript(VANISHED))))


@of_all
def test_how_a_transcript_is_cut_makes_no_difference(name: str) -> None:
    expected = told(transcript(name))
    for pieces in cut_anywhere(name):
        assert told(*pieces) == expected
