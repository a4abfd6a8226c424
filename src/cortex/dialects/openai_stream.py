"""Watches one OpenAI event stream on its way through: what to pass on, when it began, how it ended, what it cost.

Bytes go through verbatim, whole lines at a time (half a line tells a client nothing, and holding it lets a broken
stream be ended by a clean error event). Two things are changed, each only where needed: the usage-only chunk that the
gateway asked for itself is kept back, and the model's name is put right (``model_splice``). What an engine puts beside
the usage goes into the finishing chunk, where it would have stood unasked, when both come in one read, as llama.cpp
sends its ``timings`` (measured 2026-11); no chunk waits for it.

    piece --feed--> bytes to pass on      first_content_s, last_data_s, is_done, usage: read at any time

The fast path (after the first content, nothing held, nothing to change) is five cheap tests and no allocation.
"""

import re
from collections.abc import Mapping

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.error import openai_event
from cortex.dialects.model_splice import find_splice
from cortex.dialects.usage import Usage, read_usage

MAX_HELD_BYTES = 1 << 20
"""A line longer than this is passed on in parts rather than kept."""

BOM = b"\xef\xbb\xbf"
"""May stand before a stream's first line (WHATWG, server-sent events); clients that do not expect it lose that line."""

_LF, _D = b"\nd"

# An event that carries something a person or agent can use: text, reasoning, a tool call, an end, an error. A role-only
# delta, an empty or null content and prompt progress are not. Source: llama.cpp and mistral.rs streams, 2026-10.
_CONTENT = re.compile(
    rb'"(?:content|text|reasoning_content|reasoning|refusal|arguments|name|b64_json|delta)"\s*:\s*"[^"]'
    rb'|"(?:finish_reason|error)"\s*:\s*["{]|"tokens"\s*:\s*\[\s*\d'
)

# What shows a chunk with usage, by how its engine writes a chunk without: mistral.rs, and vLLM when it was asked for
# usage, write null into every chunk, and looking closely at every chunk is what the fast path is there to avoid.
_ANY_USAGE = b'"usage"'
_USAGE_WHERE_ELSE_NULL = ((b'"usage":null', b'"usage":{'), (b'"usage": null', b'"usage": {'))


_FINISH = b'"finish_reason":"'
"""In a chunk as llama.cpp writes it; inside a string the quotes would be escaped."""
_USUAL = frozenset(
    ("choices", "created", "id", "model", "object", "service_tier", "system_fingerprint", "usage", "obfuscation")
)
"""The members that OpenAI's own chunk of usage has."""


# A chunk that says nothing: a delta of a role, empty texts and nulls. What is not known to be empty may be a word.
_EMPTY = re.compile(
    rb'"delta"\s*:\s*\{\s*(?:(?:"role"\s*:\s*"[^"]*"|"\w+"\s*:\s*(?:""|null|\[\s*\]))\s*,?\s*)*\}|"text"\s*:\s*""'
)


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    error: object = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class StreamTap:
    """One stream. ``now_s`` is monotonic seconds; the caller decides what a missing end means."""

    __slots__ = (
        "_held",
        "_is_any_content",
        "_is_done",
        "_is_dropping",
        "_is_fast",
        "_is_in_line",
        "_is_wary",
        "_last",
        "_splice",
        "_strip_usage",
        "_usage_mark",
        "_wanted",
        "first_content_s",
        "last_content_s",
        "last_data_s",
        "usage",
    )

    def __init__(self, wanted_model: str, *, strip_usage: bool, is_chat: bool = True) -> None:
        self._wanted: str | None = wanted_model
        self._splice: tuple[bytes, bytes] | None = None
        self._strip_usage = strip_usage
        self._is_any_content = not is_chat
        self._usage_mark = _ANY_USAGE
        self._held = b""
        self._is_in_line = False
        self._is_dropping = False
        self._is_fast = False
        self._is_wary = False
        self._is_done = False
        self._last = b""
        self.first_content_s: float | None = None
        self.last_content_s: float | None = None
        """Kept while the stream is watched, see ``look_for_content``."""
        self.last_data_s: float | None = None
        self.usage: Usage | None = None

    def feed(self, piece: bytes, now_s: float) -> bytes:
        """Take what one read of the engine's socket gave, never nothing; return what the client may have now."""
        if (
            self._is_fast
            and piece[-1] == _LF
            and piece[0] == _D  # "data:"; no comment, no half event
            and self._usage_mark not in piece
            and b"[DONE]" not in piece
        ):
            self.last_data_s = now_s
            self._last = piece
            return piece if self._splice is None else piece.replace(*self._splice)
        return self._feed_lines(piece, now_s)

    def look_for_content(self) -> float:
        """Return when content came last, after the first; asked now and then, by who watches for a stall.

        Looking at every chunk is too dear. So only the newest one is looked at here: if it says something, so may those
        before it have done; if it is empty, from now on every chunk is looked at until one of these finds a word again.
        """
        newest_s = self.last_data_s or 0.0
        is_content = not is_empty(self._last)
        if is_content or not self._is_wary:
            self.last_content_s = newest_s
        self._is_wary = not is_content
        if self._is_wary:
            self._is_fast = False
        return self.last_content_s or 0.0

    def close(self) -> bytes:
        """The engine's answer is over: what was still held, if the stream ended properly; else it is dropped."""
        return self._held if self.is_done else b""

    failure = None
    """An engine's own error is passed on, not looked at."""

    def fail(self, error: CortexError, status: int) -> bytes:
        """End the client's stream with an error: the engine may have stopped within an event, which ends here."""
        return b"\n\n" + openai_event(error)

    @property
    def is_done(self) -> bool:
        """Whether the stream came to its end, be it in a line that the engine did not care to end."""
        return self._is_done or (self._held[:5] == b"data:" and self._held[5:].strip() == b"[DONE]")

    @property
    def carries_error(self) -> bool:
        """Whether the engine's last words were an error event, so that it needs none of ours."""
        line = self._last[self._last.rfind(b"\ndata:") + 1 :].partition(b"\n")[0]
        chunk = _chunk(line[5:])
        return chunk is not None and chunk.error is not None

    def _feed_lines(self, piece: bytes, now_s: float) -> bytes:
        passed = b""
        if self._is_in_line:
            end = piece.find(b"\n") + 1 or len(piece)
            passed, piece = piece[:end], piece[end:]
            self.last_data_s = now_s
            self._is_in_line = passed[-1] != _LF
        data = self._held + piece if self._held else piece
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > MAX_HELD_BYTES:
            cut = len(data)
            self._is_in_line = True
        self._held = held = data[cut:]
        out: list[bytes] = []
        for line in data[:cut].splitlines(keepends=True):
            self._take(line, now_s, out)
        lines = b"".join(out)
        self._is_fast = (
            self.first_content_s is not None
            and self._wanted is None
            and not self._is_any_content
            and not self._is_wary
            and not self._is_in_line
            and not held
        )
        return passed + (lines if self._splice is None else lines.replace(*self._splice))

    def _take(self, line: bytes, now_s: float, out: list[bytes]) -> None:
        """Look at one line; put into ``out`` what the client gets now."""
        if self.last_data_s is None:
            line = line.removeprefix(BOM)
        if line[:5] == b"data:":
            payload = line[5:].strip()
            if self._keeps_data(payload, line, now_s):
                out.append(line)
            else:
                put_beside_finish(out, payload)
        elif self._is_dropping and line in (b"\n", b"\r\n"):
            self._is_dropping = False
        else:
            out.append(line)

    def _keeps_data(self, payload: bytes, line: bytes, now_s: float) -> bool:
        self.last_data_s = now_s
        if payload == b"[DONE]":
            self._is_done = True
            return True
        self._last = line
        if self._wanted is not None:
            self._find_model(payload, self._wanted)
        if self.first_content_s is None and (self._is_any_content or _CONTENT.search(payload)):
            self.first_content_s = now_s
        if self._is_wary and not is_empty(line):
            self.last_content_s = now_s
        if self._usage_mark in payload or b'"tokens_predicted"' in payload:
            return self._keeps_usage(payload)
        return True

    def _find_model(self, payload: bytes, wanted: str) -> None:
        found = find_splice(payload, wanted)
        if found is not None:
            self._wanted = None
            self._splice = found if found[0] != found[1] else None

    def _keeps_usage(self, payload: bytes) -> bool:
        usage = read_usage(payload)
        if usage is None:
            for without, with_usage in _USAGE_WHERE_ELSE_NULL:
                if without in payload:
                    self._usage_mark = with_usage
            return True
        self.usage = usage
        if not self._strip_usage:
            return True
        chunk = _chunk(payload)
        self._is_dropping = chunk is not None and chunk.choices == []
        return not self._is_dropping


def put_beside_finish(lines: list[bytes], payload: bytes) -> None:
    """Give what stands beside the usage in ``payload`` to the last chunk of ``lines``, if that one is a finish."""
    last = next((index for index in reversed(range(len(lines))) if lines[index][:5] == b"data:"), None)
    if last is not None and _FINISH in lines[last]:
        lines[last] = with_members(lines[last], beside_usage(payload))


def beside_usage(payload: bytes) -> dict[bytes, msgspec.Raw]:
    """Return what an engine put into its chunk of usage beside what belongs there; keys as they stand in JSON."""
    try:
        members = _decode_members(payload).items()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {msgspec.json.encode(key): value for key, value in members if key not in _USUAL}


def with_members(line: bytes, members: Mapping[bytes, msgspec.Raw]) -> bytes:
    """Return a ``data:`` line whose object has more members, but for those that it may have already."""
    more = b"".join([b",%b:%b" % member for member in members.items() if member[0] not in line])
    end = line.rfind(b"}")
    return line[:end] + more + line[end:] if end >= 0 else line


def is_content(payload: bytes) -> bool:
    """Tell whether an event says something: text, reasoning, a tool call, an end, an error."""
    return _CONTENT.search(payload) is not None


def is_empty(piece: bytes) -> bool:
    """Tell whether what an engine sent is known to say nothing."""
    return _EMPTY.search(piece) is not None and _CONTENT.search(piece) is None


def _chunk(payload: bytes) -> _Chunk | None:
    try:
        return _decode_chunk(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
