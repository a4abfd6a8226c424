"""Goes on reading a log file that another process writes, line by line, until there will be no more.

Nothing is kept: what a reader is too slow for stays in the file, and is lost only when the file is cut (``trim``). A
line comes whole, or in pieces where it is longer than one read.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from cortex.neuron.process.log_tail import TAIL_BYTES, without_colours
from cortex.neuron.refusal import Busy

POLL_S = 0.25
MAX_READERS = 32
CUT = b"[the log was cut here]\n"


async def follow(
    path: Path,
    is_over: Callable[[], bool],
    *,
    lines: int,
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
) -> AsyncIterator[bytes]:
    """Yield the last ``lines`` lines, then every further one, until ``is_over`` and the end of the file is reached."""
    position, rest = _begin_of(path, lines), b""
    while True:
        was_over = is_over()  # before the read: what is written until then is read as well
        size_bytes, read = _read(path, position)
        if size_bytes < position:
            position, rest = 0, b""
            yield CUT
            continue
        position += len(read)
        whole, rest = _split(rest + read)
        if whole:
            yield without_colours(whole)
        if read:
            continue
        if was_over:
            if rest:
                yield without_colours(rest) + b"\n"
            return
        await sleep(POLL_S)


def _begin_of(path: Path, lines: int) -> int:
    """Return where the last lines of a file begin, as far as one read shows them."""
    size_bytes, _ = _read(path, 0, 0)
    begin = max(0, size_bytes - TAIL_BYTES)
    _, read = _read(path, begin)
    ends = [at for at, byte in enumerate(read) if byte == 0x0A and at != len(read) - 1]
    if len(ends) >= lines:
        return begin + ends[-lines] + 1
    # What begins in the middle of a line loses that line, unless there is no other.
    return begin + (ends[0] + 1 if begin and ends else 0)


def _read(path: Path, position: int, limit_bytes: int = TAIL_BYTES) -> tuple[int, bytes]:
    """Return how long a file is, and what it has from a position on; nothing while there is none."""
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(position)
            return size_bytes, file.read(limit_bytes)
    except OSError:
        return position, b""


def _split(text: bytes) -> tuple[bytes, bytes]:
    """Return the whole lines of a text, and the begin of the next; a line that is longer than one read is cut."""
    if len(text) > TAIL_BYTES:
        return text, b""
    whole, newline, rest = text.rpartition(b"\n")
    return whole + newline, rest


class LogReaders:
    """Those who follow logs now; each looks for news several times a second, so there are not too many."""

    def __init__(self, limit: int = MAX_READERS) -> None:
        self._limit = limit
        self._count = 0

    def follow(self, path: Path | None, is_over: Callable[[], bool], lines: int) -> AsyncIterator[bytes]:
        """Return what ``follow`` yields, nothing without a file. Raises: Busy when there are too many already."""
        if self._count >= self._limit:
            raise Busy(f"{self._limit} readers follow logs already: ask without `follow`, or later")
        return self._counted(path, is_over, lines)

    async def _counted(self, path: Path | None, is_over: Callable[[], bool], lines: int) -> AsyncIterator[bytes]:
        self._count += 1
        try:
            if path is not None:
                async for text in follow(path, is_over, lines=lines):
                    yield text
        finally:
            self._count -= 1
