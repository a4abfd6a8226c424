"""Makes the arguments of a tool call a JSON object, or says that they are none.

Only repairs that cannot change what is called: nothing for no arguments, JSON within JSON, a fence of code around it,
words after it, raw control characters in strings. A string or an object that was cut is never closed: ``rm -rf /data``
is what closing makes of a cut ``rm -rf /data/tmp`` (measured 2026-11: a client executes it).
"""

import json
import re

import msgspec

_decode = msgspec.json.decode
_scan = json.JSONDecoder(strict=False).raw_decode
_FENCED = re.compile(r"```\w*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


def repaired_arguments(text: str) -> str | None:
    """Return the text of a JSON object; None when the arguments are none and cannot safely be made one."""
    text = text.strip()
    if not text:
        return "{}"
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _without_surroundings(text)
    if isinstance(found, dict):
        return text
    if isinstance(found, str):
        return repaired_arguments(found)
    return "{}" if found is None else None


class Outline:
    """Tells, at a cost for each character once, whether arguments that arrive in pieces could be complete by now.

    What it denies is not; of the rest, reading tells. Looks at strings and brackets alone.
    """

    __slots__ = ("_depth", "_has_opened", "_is_escaped", "_is_in_string", "_last")

    def __init__(self) -> None:
        self._depth = 0
        self._has_opened = False
        self._is_in_string = False
        self._is_escaped = False
        """The last piece ended with a backslash."""
        self._last = ""
        """The last character that is no blank."""

    @property
    def may_be_whole(self) -> bool:
        """Every bracket and string is closed, whatever words follow, or there is a fence, which ends where it says."""
        return (self._has_opened and self._depth <= 0 and not self._is_in_string) or self._last == "`"

    def take(self, piece: str) -> None:
        """Add a piece."""
        self._last = piece.rstrip()[-1:] or self._last
        at = 1 if self._is_escaped and piece else 0
        self._is_escaped = self._is_escaped and not piece
        while at < len(piece):
            at = self._end_of_string(piece, at) if self._is_in_string else self._next_string(piece, at)

    def _end_of_string(self, piece: str, at: int) -> int:
        """Return where the rest of a string ends."""
        found = _IN_STRING.match(piece, at)
        end = found.end() if found else at
        if end < len(piece):
            self._is_in_string = piece[end] != '"'
            self._is_escaped = piece[end] == "\\"  # and nothing after it
        return end + 1

    def _next_string(self, piece: str, at: int) -> int:
        """Return where the next string begins."""
        start = piece.find('"', at)
        end = start if start >= 0 else len(piece)
        opened = piece.count("{", at, end) + piece.count("[", at, end)
        self._depth += opened - piece.count("}", at, end) - piece.count("]", at, end)
        self._is_in_string = start >= 0
        self._has_opened = self._has_opened or self._is_in_string or opened > 0
        return end + 1


_IN_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)


def _without_surroundings(text: str) -> str | None:
    fenced = _FENCED.match(text)
    if fenced:
        return repaired_arguments(fenced[1])
    if text[0] not in '{"':
        return None
    try:
        found, end = _scan(text)
    except (ValueError, RecursionError):
        return None
    rest = text[end:].strip()
    # Another object may be another call, and which of the two was meant nobody knows; the same one again is a repeat.
    if "{" in rest.replace(text[:end], ""):
        return None
    if isinstance(found, str):
        return repaired_arguments(found)
    try:
        return json.dumps(found, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None
