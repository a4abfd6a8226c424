"""Reads the last lines of a log file that another process writes, and keeps such files from growing without end."""

import os
import re
from pathlib import Path

_ANSI = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")

TAIL_BYTES = 64 * 1024
KEPT_BYTES = 1 << 20
LIMIT_BYTES = 32 << 20


def tail(path: Path, lines: int = 40, *, since_byte: int = 0, limit_bytes: int = TAIL_BYTES) -> tuple[str, ...]:
    """Return at most the last ``lines`` lines within ``limit_bytes``, without colours; nothing when unreadable.

    Only what was written after ``since_byte`` is looked at, unless the file has been cut shorter meanwhile.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            first = since_byte if since_byte <= size else 0
            begin = max(first, size - limit_bytes)
            file.seek(begin)
            text = without_colours(file.read(limit_bytes)).decode(errors="replace")
    except OSError:
        return ()
    # What begins in the middle of a line loses that line, unless there is no other.
    whole = text if begin == first else text.partition("\n")[2] or text
    return tuple(whole.splitlines()[-lines:])


def without_colours(text: bytes) -> bytes:
    """Return a text without what tells a terminal its colours."""
    return _ANSI.sub(b"", text)


def size_bytes(path: Path) -> int:
    """Return how long a log is; 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def trim(path: Path, limit_bytes: int = LIMIT_BYTES, kept_bytes: int = KEPT_BYTES) -> bool:
    """Cut a file of more than ``limit_bytes`` to nothing, its last ``kept_bytes`` saved beside it as ``.old``.

    Its writer must append (O_APPEND), and then goes on at the new end.
    """
    try:
        if path.stat().st_size <= limit_bytes:
            return False
        with path.open("rb+") as file:
            file.seek(-kept_bytes, os.SEEK_END)
            path.with_name(path.name + ".old").write_bytes(file.read(kept_bytes))
            file.truncate(0)
    except OSError:
        return False
    return True
