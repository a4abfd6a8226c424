"""Finds one short text field in a ``multipart/form-data`` body while it arrives, and where its value stands.

Nothing is decoded but the field's own value, so that a file before or after it stays the caller's bytes (RFC 7578,
RFC 2046 §5.1). What is searched is kept by this object until ``take`` hands it over; the caller bounds it.
"""

import re

from cortex.contract.error import MalformedRequest

MAX_PART_HEAD_BYTES = 16384
MAX_VALUE_BYTES = 1024

_BOUNDARY = re.compile(rb'boundary=(?:"([^"\r\n]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition\s*:[^\r\n]*?;\s*name=(?:"([^"\r\n]*)"|([^\s;"\r\n]+))', re.IGNORECASE)


def boundary_of(content_type: bytes) -> bytes:
    """Return the boundary that a Content-Type names. Raises: MalformedRequest."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise MalformedRequest("The Content-Type is multipart/form-data without a boundary.", param="Content-Type")
    return found[1] or found[2]


class FieldScanner:
    """Searches one body for the field ``name``; ``value`` and ``span`` are set once it was seen whole."""

    def __init__(self, boundary: bytes, name: bytes) -> None:
        self.value: str | None = None
        self.span = (0, 0)
        """Where the value's bytes begin and end in the body."""
        self.is_over = False
        """The body's last boundary was seen."""
        self._name = name
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning; a line break put before it makes all of them alike.
        self._data = bytearray(b"\r\n")
        self._at = 0
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
        data, delimiter = self._data, self._delimiter
        found = data.find(delimiter, self._at)
        if found < 0:
            self._at = max(self._at, len(data) - len(delimiter) + 1)
            return False
        after = found + len(delimiter)
        if len(data) < after + 2:
            self._at = found
            return False
        if data[after : after + 2] == b"--":
            self.is_over = True
        else:
            self._is_in_part = True
        self._at = after
        return True

    def _read_part(self) -> bool:
        """Read a part's head, and its value when it is the wanted one; ``_at`` stands behind its delimiter."""
        data = self._data
        head_end = data.find(b"\r\n\r\n", self._at)
        if head_end < 0:
            if len(data) - self._at > MAX_PART_HEAD_BYTES:
                raise MalformedRequest("A part of the multipart body has a head without an end.")
            return False
        named = _NAME.search(data, self._at, head_end)
        begin = head_end + 4
        if named is None or (named[1] if named[1] is not None else named[2]) != self._name:
            # The delimiter of an empty part shares its line break with the end of the head.
            self._is_in_part, self._at = False, head_end + 2
            return True
        end = data.find(self._delimiter, head_end + 2)
        if end < 0:
            if len(data) - begin > MAX_VALUE_BYTES:
                raise self._malformed(f"is longer than {MAX_VALUE_BYTES} bytes")
            return False
        self._take_value(begin, max(begin, end))
        return True

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
