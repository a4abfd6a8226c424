"""Watches one OpenAI event stream on its way through: what to pass on, when it began, how it ended, what it cost.

Bytes go through verbatim, whole lines at a time (half a line tells a client nothing, and holding it lets a broken
stream be ended by a clean error event). Two things are changed, each only where needed: the usage-only chunk that the
gateway asked for itself is kept back, and the model's name is put right (``model_splice``).

    piece --feed--> bytes to pass on      first_content_s, last_data_s, is_done, usage: read at any time

The fast path (after the first content, nothing held, nothing to change) is four cheap tests and no allocation.
"""

import re

import msgspec

from cortex.dialects.model_splice import find_splice
from cortex.dialects.usage import Usage, read_usage

MAX_HELD_BYTES = 1 << 20
"""A line longer than this is passed on in parts rather than kept."""

_LF, _COLON = 10, 58

# An event that carries something a person or agent can use: text, reasoning, a tool call, an end, an error. A role-only
# delta, an empty or null content and prompt progress are not. Source: llama.cpp and mistral.rs streams, 2026-10.
_CONTENT = re.compile(
    rb'"(?:content|text|reasoning_content|reasoning|refusal|arguments|name|b64_json|delta)"\s*:\s*"[^"]'
    rb'|"(?:finish_reason|error)"\s*:\s*["{]|"tokens"\s*:\s*\[\s*\d'
)


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class StreamTap:
    """One stream. ``now_s`` is monotonic seconds; the caller decides what a missing end means."""

    __slots__ = (
        "_held",
        "_is_any_content",
        "_is_dropping",
        "_is_fast",
        "_last",
        "_splice",
        "_strip_usage",
        "_wanted",
        "first_content_s",
        "is_done",
        "last_data_s",
        "usage",
    )

    def __init__(self, wanted_model: str, *, strip_usage: bool, is_chat: bool = True) -> None:
        self._wanted: str | None = wanted_model
        self._splice: tuple[bytes, bytes] | None = None
        self._strip_usage = strip_usage
        self._is_any_content = not is_chat
        self._held = b""
        self._is_dropping = False
        self._is_fast = False
        self._last = b""
        self.first_content_s: float | None = None
        self.last_data_s: float | None = None
        self.is_done = False
        self.usage: Usage | None = None

    def feed(self, piece: bytes, now_s: float) -> bytes:
        """Take what one read of the engine's socket gave; return what the client may have now (maybe nothing)."""
        if (
            self._is_fast
            and piece[-1] == _LF
            and piece[0] != _COLON
            and not self._held
            and b'"usage"' not in piece
            and b"[DONE]" not in piece
        ):
            self.last_data_s = now_s
            self._last = piece
            return piece if self._splice is None else piece.replace(*self._splice)
        return self._feed_lines(piece, now_s)

    def close(self) -> bytes:
        """The engine's answer is over: what was still held, if the stream ended properly; else it is dropped."""
        held, self._held = self._held, b""
        return held if self.is_done else b""

    @property
    def carries_error(self) -> bool:
        """Whether the engine's last words were an error event, so that it needs none of ours."""
        return b'"error"' in self._last

    def _feed_lines(self, piece: bytes, now_s: float) -> bytes:
        data = self._held + piece if self._held else piece
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > MAX_HELD_BYTES:
            cut = len(data)
        self._held = data[cut:]
        out = [line for line in data[:cut].splitlines(keepends=True) if self._keeps(line, now_s)]
        passed = b"".join(out)
        return passed if self._splice is None else passed.replace(*self._splice)

    def _keeps(self, line: bytes, now_s: float) -> bool:
        """Look at one line; whether the client gets it."""
        if line[:5] == b"data:":
            return self._keeps_data(line[5:].strip(), line, now_s)
        if self._is_dropping and line in (b"\n", b"\r\n"):
            self._is_dropping = False
            return False
        return True

    def _keeps_data(self, payload: bytes, line: bytes, now_s: float) -> bool:
        self.last_data_s = now_s
        self._last = line
        if payload == b"[DONE]":
            self.is_done = True
            return True
        if self._wanted is not None and b'"model"' in payload:
            self._splice, self._wanted = find_splice(payload, self._wanted), None
        if self.first_content_s is None and (self._is_any_content or _CONTENT.search(payload)):
            self.first_content_s = now_s
            self._is_fast = not self._is_any_content
        if b'"usage"' in payload or b'"tokens_predicted"' in payload:
            return self._keeps_usage(payload)
        return True

    def _keeps_usage(self, payload: bytes) -> bool:
        usage = read_usage(payload)
        if usage is None:
            return True
        self.usage = usage
        if not self._strip_usage or not _is_usage_only(payload):
            return True
        self._is_dropping = True
        return False


def _is_usage_only(payload: bytes) -> bool:
    try:
        return _decode_chunk(payload).choices == []
    except msgspec.DecodeError:
        return False
