"""Stands on the way of a stream that is translated: takes an engine's event stream apart and has a writer say it anew.

    piece --feed--> bytes for the client      first_content_s, last_data_s, is_done, usage: read at any time

Bytes may be cut anywhere. Lines end with LF or CRLF; comments and other fields are passed over, and so is a mark
of byte order before the first. What the stream means is the writer's business, what a missing end means the caller's.
"""

import json

from cortex.contract.error import CortexError, UpstreamBroken
from cortex.dialects.chat_reader import read_answer
from cortex.dialects.interface import StreamWriter
from cortex.dialects.openai_stream import BOM, is_content, is_empty
from cortex.dialects.usage import Usage

MAX_LINE_BYTES = 16 << 20
"""A tool call or a picture comes in one line; what is longer is no answer."""

_DONE = b"[DONE]"
_FINISH = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
"""What an engine that ends with [DONE] has left out."""


def as_chunk(body: bytes) -> bytes:
    """Return a whole answer as the only chunk of a stream: for an engine that does not stream.

    Raises: UpstreamError for what would be of no use as a whole answer either.
    """
    read_answer(body)
    answer = json.loads(body.decode("utf-8", "replace"), strict=False)
    for choice in answer["choices"]:
        if isinstance(choice, dict) and "message" in choice:
            choice["delta"] = choice.pop("message")
    return json.dumps(answer).encode()


class TranslatingTap:
    """One stream, one attempt. Implements ``Tap``."""

    __slots__ = (
        "_held",
        "_held_bytes",
        "_is_ended",
        "_is_wary",
        "_last",
        "_pieces",
        "_writer",
        "first_content_s",
        "last_content_s",
        "last_data_s",
        "last_written_s",
    )

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self._held = b""
        self._held_bytes = 0
        self._pieces: list[bytes] = []
        self._last = b""
        self._is_wary = False
        self._is_ended = False
        """The end of the client's stream has been given out."""
        self.first_content_s: float | None = None
        self.last_content_s: float | None = None
        self.last_data_s: float | None = None
        self.last_written_s: float | None = None
        """When something was last given out."""

    @property
    def is_done(self) -> bool:
        """Whether the engine's answer is whole, be its stream at its end or not."""
        return self._is_ended or (self._writer.is_complete and not self.carries_error)

    @property
    def usage(self) -> Usage | None:
        """The newest token counts."""
        return self._writer.usage

    @property
    def failure(self) -> CortexError | None:
        """What went wrong by the engine's own words; the client's stream has been ended with it."""
        return self._writer.failure

    @property
    def carries_error(self) -> bool:
        """Whether the client's stream was ended with an error."""
        return self._writer.failure is not None

    def feed(self, piece: bytes, now_s: float) -> bytes:
        """Take what one read of the engine's socket gave; return what the client may have now."""
        if b"\n" not in piece:
            return self._hold(piece)
        data = self._held + b"".join((*self._pieces, piece)) if self._pieces else self._held + piece
        cut = data.rfind(b"\n") + 1
        self._held = data[cut:]
        self._pieces.clear()
        self._held_bytes = len(self._held)
        out = b""
        for line in data[:cut].split(b"\n"):
            if self.last_data_s is None:
                line = line.removeprefix(BOM)
            if line[:5] == b"data:":
                out += self._take(line[5:].strip(), now_s)
        if out:
            self.last_written_s = now_s
        return out

    def _hold(self, piece: bytes) -> bytes:
        """Keep a part of a line; joined only once, for a line may come in thousands of parts."""
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > MAX_LINE_BYTES:
            raise UpstreamBroken("The engine sent a line without end.")
        return b""

    def close(self) -> bytes:
        """The engine's answer is over: what was still held, and the end, if the stream ended properly."""
        out = b""
        self._held += b"".join(self._pieces)
        self._pieces.clear()
        if self._held[:5] == b"data:":  # a last line that the engine did not care to end
            held, self._held = self._held, b""
            out = self._take(held[5:].strip(), self.last_data_s or 0.0)
        return out + self._writer.end() if self._may_end() else out

    def fail(self, error: CortexError, status: int) -> bytes:
        """End the client's stream with an error."""
        return self._writer.fail(error, status)

    def look_for_content(self) -> float:
        """Return when content came last, after the first; asked now and then, see ``StreamTap``."""
        if not is_empty(self._last) or not self._is_wary:
            self.last_content_s = self.last_data_s
        self._is_wary = is_empty(self._last)
        return self.last_content_s or 0.0

    def _take(self, payload: bytes, now_s: float) -> bytes:
        if self._is_ended or self.carries_error:
            return b""
        self.last_data_s = now_s
        if payload == _DONE:
            out = b"" if self._writer.is_complete else self._writer.feed(_FINISH)
            return out + self._writer.end() if self._may_end() else out
        self._last = payload
        if self.first_content_s is None and is_content(payload):
            self.first_content_s = now_s
        if self._is_wary and not is_empty(payload):
            self.last_content_s = now_s
        return self._writer.feed(payload)

    def _may_end(self) -> bool:
        """Tell, once, that the end of the client's stream is to be given out."""
        if self._is_ended or not self.is_done:
            return False
        self._is_ended = True
        return True
