"""Writes a streamed answer as Responses has it: an engine's chunks in, events out.

What is told is ``responses_answer``'s business.

    event: <type>
    data: {"type": "<type>", "sequence_number": n, …}

Nothing ends such a stream but its last event: there is no ``[DONE]``.
"""

from collections.abc import Iterable

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.chat_event import ChatEvent, Counted
from cortex.dialects.chat_reader import ChatReader
from cortex.dialects.responses_answer import Answer, Event
from cortex.dialects.usage import Usage

_encode = msgspec.json.Encoder().encode
_NO_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class ResponsesWriter:
    """One attempt. Implements ``StreamWriter``."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._reader = ChatReader()
        self._usage: Usage | None = None

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
        return self._take(self._reader.feed(payload))

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
            out += written(self._answer.take(event))
        return out


def written(events: Iterable[Event]) -> bytes:
    """Return events as they stand in a stream."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _line(event)) for event in events)


def _line(event: Event) -> bytes:
    """Return an event as one line: what is told back of the request may have been written on several."""
    text = _encode(event)
    return text.translate(_NO_BREAKS) if b"\n" in text or b"\r" in text else text
