"""Streams as engines write them, whole, byte by byte and cut at random: always the same message."""

from tests.unit.dialects.anthropic_answering import answering, shown
from tests.unit.dialects.anthropic_checker import Checker, checked, events_of
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

from cortex.dialects.anthropic_stream import AnthropicWriter


def told(*pieces: bytes) -> bytes:
    return replayed(AnthropicWriter(answering(stop=("END",))), *pieces)


@of_said
def test_a_transcript_is_this_message(name: str) -> None:
    content, reason, tokens = SAID[name]
    found = checked(told(transcript(name))).result()
    assert (shown(found["content"]), found["stop_reason"]) == (content, reason)
    usage = found["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == tokens


@of_failed
def test_a_transcript_with_an_error_ends_in_that_error(name: str) -> None:
    error = checked(told(transcript(name))).error
    assert error is not None
    assert FAILED[name] in error["message"]


def test_an_engine_that_vanishes_leaves_no_end() -> None:
    checker = Checker()
    for event in events_of(told(transcript(VANISHED))):
        checker.take(event)
    assert checker.message is not None
    assert checker.message["stop_reason"] is None


@of_all
def test_how_a_transcript_is_cut_makes_no_difference(name: str) -> None:
    expected = told(transcript(name))
    for pieces in cut_anywhere(name):
        assert told(*pieces) == expected
