"""Writes a streamed answer as Responses has it: an engine's chunks in, events out.

What is told is ``responses_answer``'s business.

    event: <type>
    data: {"type": "<type>", "sequence_number": n, …}

Nothing ends such a stream but its last event: there is no ``[DONE]``.
"""

from collections.abc import Iterable

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.chat_event import ChatEvent, Counted, Reasoned, Said
from cortex.dialects.chat_reader import ChatReader
from cortex.dialects.responses_answer import Answer, Event
from cortex.dialects.usage import Usage

_encode = msgspec.json.Encoder().encode
_TEXT_DELTAS = ("response.output_text.delta", "response.reasoning_summary_text.delta")
_NUMBER, _TEXT = "<number>", "<text>"
_NO_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class ResponsesWriter:
    """One attempt. Implements ``StreamWriter``."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._reader = ChatReader()
        self._usage: Usage | None = None
        self._delta = b""
        """How a piece of text stands in the stream that goes on with the open item; empty when none is open."""

    @property
    def usage(self) -> Usage | None:
        """See ``StreamWriter``."""
        return self._usage

    @property
    def is_complete(self) -> bool:
        """See ``StreamWriter``."""
        return self._reader.is_complete

    @property
    def failure(self) -> CortexError | None:
        """See ``StreamWriter``."""
        return self._answer.failure

    def feed(self, payload: bytes) -> bytes:
        """See ``StreamWriter``."""
        events = self._reader.feed(payload)
        if len(events) == 1 and self._delta:
            event = events[0]
            number = self._answer.go_on(event)
            if number is not None and isinstance(event, Said | Reasoned):
                return self._delta % (number, _encode(event.text))
        return self._take(events)

    def end(self) -> bytes:
        """See ``StreamWriter``."""
        return self._take(self._reader.end()) + written(self._answer.end())

    def fail(self, error: CortexError, status: int) -> bytes:
        """See ``StreamWriter``."""
        return written(self._answer.fail(error))

    def _take(self, events: list[ChatEvent]) -> bytes:
        out = b""
        for event in events:
            if isinstance(event, Counted):
                self._usage = event.usage
            told = self._answer.take(event)
            if told:
                self._delta = _delta_of(told[-1])
                out += written(told)
        return out


def written(events: Iterable[Event]) -> bytes:
    """Return events as they stand in a stream."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _line(event)) for event in events)


def _delta_of(event: Event) -> bytes:
    """Return the form of another event like this one, with its number and text to come; empty for one without text."""
    if event["type"] not in _TEXT_DELTAS:
        return b""
    form = written([{**event, "sequence_number": _NUMBER, "delta": _TEXT}]).replace(b"%", b"%%")
    return form.replace(_encode(_NUMBER), b"%d").replace(_encode(_TEXT), b"%b")


def _line(event: Event) -> bytes:
    """Return an event as one line: what is told back of the request may have been written on several."""
    text = _encode(event)
    return text.translate(_NO_BREAKS) if b"\n" in text or b"\r" in text else text
