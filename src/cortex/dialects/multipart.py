"""Finds one short text field in a ``multipart/form-data`` body while it arrives, and where its value stands.

Nothing is decoded but the field's own value, so that a file before or after it stays the caller's bytes (RFC 7578,
RFC 2046 §5.1). What is searched is kept by this object until ``take`` hands it over; the caller bounds it.
"""

import re
from typing import NamedTuple

from cortex.contract.error import MalformedRequest

MAX_PARTS = 1000
"""Parts before the field; each is work, however little there is in it."""

MAX_PART_HEAD_BYTES = 16384
MAX_VALUE_BYTES = 1024
MAX_PADDING_BYTES = 64
"""Blanks between a boundary and the end of its line."""

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"\r\ncontent-disposition[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')
"""Found one after the other, so that what looks like a parameter inside a quoted file name is part of that name."""


def boundary_of(content_type: bytes) -> bytes:
    """Return the boundary that a Content-Type names. Raises: MalformedRequest."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise MalformedRequest("The Content-Type is multipart/form-data without a boundary.", param="Content-Type")
    return found[1] or found[2]


class _Delimiter(NamedTuple):
    """``begin`` is where what stands before it ends, its own line break included."""

    begin: int
    end: int
    is_last: bool


class FieldScanner:
    """Searches one body for the field ``name``; ``value`` and ``span`` are set once it was seen whole."""

    def __init__(self, boundary: bytes, name: bytes) -> None:
        self.value: str | None = None
        self.span = (0, 0)
        """Where the value's bytes begin and end in the body."""
        self.is_over = False
        """The body's last boundary was seen."""
        self._name = name
        self._mark = b"\r\n--" + boundary
        self._longest_bytes = len(self._mark) + MAX_PADDING_BYTES + 2
        # The first delimiter may stand at the very beginning; a line break put before it makes all of them alike.
        self._data = bytearray(b"\r\n")
        self._at = 0
        self._parts = 0
        self._is_in_part = False

    @property
    def size_bytes(self) -> int:
        """How much of the body is kept."""
        return len(self._data) - 2

    def feed(self, piece: bytes) -> None:
        """Take more of the body. Raises: MalformedRequest."""
        self._data += piece
        while self.value is None and not self.is_over and self._step():
            pass

    def take(self) -> bytes:
        """Return everything fed so far, and forget it."""
        data, self._data = bytes(memoryview(self._data)[2:]), bytearray(b"\r\n")
        return data

    def _step(self) -> bool:
        """Read one delimiter or one part head; False when more bytes are needed for it."""
        return self._read_part() if self._is_in_part else self._find_delimiter()

    def _find_delimiter(self) -> bool:
        found = self._next_delimiter(self._at)
        if found is None:
            self._at = max(self._at, len(self._data) - self._longest_bytes)  # part of one may be there
            return False
        self._at = found.end
        self.is_over = found.is_last
        self._is_in_part = not found.is_last
        return True

    def _next_delimiter(self, start: int) -> _Delimiter | None:
        """Return the next delimiter, None while there is none. A line that only begins like one is data."""
        data, mark = self._data, self._mark
        begin = data.find(mark, start)
        while begin >= 0:
            end = begin + len(mark)
            tail = bytes(data[end : begin + self._longest_bytes])
            rest = tail.lstrip(b" \t")
            if tail[:2] == b"--":
                return _Delimiter(begin, end, True)
            if rest[:2] == b"\r\n":
                return _Delimiter(begin, end + len(tail) - len(rest), False)
            begin = data.find(mark, begin + 2)
        return None

    def _read_part(self) -> bool:
        """Read a part's head, and its value when it is the wanted one; ``_at`` stands behind its delimiter."""
        data = self._data
        head_end = data.find(b"\r\n\r\n", self._at)
        if (len(data) if head_end < 0 else head_end) - self._at > MAX_PART_HEAD_BYTES:
            raise MalformedRequest(f"A part of the multipart body has a head of more than {MAX_PART_HEAD_BYTES} bytes.")
        if head_end < 0:
            return False
        if _name_of(bytes(data[self._at : head_end])) != self._name:
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise self._malformed(f"stands behind more than {MAX_PARTS} others: send it first")
            # The delimiter of an empty part shares its line break with the end of the head.
            self._is_in_part, self._at = False, head_end + 2
            return True
        begin, found = head_end + 4, self._next_delimiter(head_end + 2)
        if found is not None:
            self._take_value(begin, max(begin, found.begin))
        elif len(data) - begin > MAX_VALUE_BYTES + self._longest_bytes:
            raise self._malformed(f"is longer than {MAX_VALUE_BYTES} bytes")
        return False

    def _take_value(self, begin: int, end: int) -> None:
        if end - begin > MAX_VALUE_BYTES:
            raise self._malformed(f"is longer than {MAX_VALUE_BYTES} bytes")
        try:
            self.value = self._data[begin:end].decode()
        except UnicodeDecodeError as exc:
            raise self._malformed("is not UTF-8 text") from exc
        self.span = (begin - 2, end - 2)

    def _malformed(self, what: str) -> MalformedRequest:
        name = self._name.decode()
        return MalformedRequest(f'The form field "{name}" {what}.', param=name)


def _name_of(head: bytes) -> bytes | None:
    """Return the field that a part's head names."""
    line = _DISPOSITION.search(head)
    for parameter in _PARAMETER.finditer(line[1]) if line is not None else ():
        if parameter[1].lower() == b"name":
            return parameter[3] if parameter[2] is None else re.sub(rb"\\(.)", rb"\1", parameter[2])
    return None
