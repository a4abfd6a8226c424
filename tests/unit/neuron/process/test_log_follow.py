"""A log that is followed while it is written: nothing twice, nothing lost, no line torn, and an end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from cortex.neuron.process import log_follow
from cortex.neuron.process.log_follow import CUT, LogReaders, follow
from cortex.neuron.process.log_tail import TAIL_BYTES, trim
from cortex.neuron.refusal import Busy


def followed(path: Path, steps: Iterable[Callable[[], object]] = (), *, lines: int = 100) -> list[bytes]:
    """Follow a log; before each poll the next step is done, and after the last one it is over."""
    left = list(steps)

    async def step(_: float) -> None:
        if left:
            left.pop(0)()

    async def run() -> list[bytes]:
        return [text async for text in follow(path, lambda: not left, lines=lines, sleep=step)]

    return asyncio.run(run())


def appends(path: Path, text: bytes) -> Callable[[], object]:
    def append() -> None:
        with path.open("ab") as file:
            file.write(text)

    return append


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
        (b"one\ntwo\nthree", 2, b"two\nthree\n"),
        (b"one\n\n\n", 2, b"\n\n"),
        (b"one\n", 5, b"one\n"),
        (b"one", 1, b"one\n"),
        (b"", 5, b""),
    ],
    ids=["the last", "one that is not finished", "empty ones", "fewer", "a single one", "none"],
)
def test_it_begins_with_the_last_lines(tmp_path: Path, content: bytes, lines: int, expected: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    assert b"".join(followed(tmp_path / "log", lines=lines)) == expected


def test_what_is_written_comes_once_and_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n")
    steps = [appends(log, b"tw"), appends(log, b"o\nthree\nfo"), appends(log, b"ur")]
    assert followed(log, steps) == [b"one\n", b"two\nthree\n", b"four\n"]


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert followed(log, [lambda: None, appends(log, b"one\n")]) == [b"one\n"]
    assert followed(tmp_path / "none") == []


def test_what_is_written_last_is_read_before_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")

    def write_and_end() -> bool:
        if not log.read_bytes():
            appends(log, b"bye\n")()
        return True

    async def run() -> list[bytes]:
        return [text async for text in follow(log, write_and_end, lines=1)]

    assert asyncio.run(run()) == [b"bye\n"]


def test_of_a_long_log_only_the_end_is_read_and_no_line_is_torn(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"".join(b"line %d\n" % number for number in range(20_000)))
    text = b"".join(followed(tmp_path / "log", lines=100_000))
    assert len(text) <= TAIL_BYTES
    assert text.startswith(b"line ")
    assert text.endswith(b"line 19999\n")


def test_a_reader_that_is_behind_gets_all_of_it_in_bounded_pieces(tmp_path: Path) -> None:
    log, text = tmp_path / "log", b"".join(b"line %d\n" % number for number in range(40_000))
    log.write_bytes(b"")
    pieces = followed(log, [appends(log, text)])
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) <= 2 * TAIL_BYTES


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    log, text = tmp_path / "log", b"x" * (5 * TAIL_BYTES)
    log.write_bytes(b"")
    pieces = followed(log, [appends(log, text)])
    assert b"".join(pieces) == text + b"\n"
    assert len(pieces) > 1


def test_a_log_that_is_cut_meanwhile_is_gone_on_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old\n" * 100)
    steps = [lambda: trim(log, limit_bytes=10, kept_bytes=10), appends(log, b"new\n")]
    assert followed(log, steps, lines=1) == [b"old\n", CUT, b"new\n"]


def test_colours_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[32mgreen\x1b[0m\n")
    assert followed(log, [appends(log, b"\x1b[1"), appends(log, b"mbold\n")]) == [b"green\n", b"bold\n"]


def with_readers(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def test_there_are_only_so_many_readers_and_one_that_leaves_makes_room(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n")

    async def run() -> None:
        readers = LogReaders(limit=1)
        first = readers.follow(log, lambda: False, 10)
        assert await anext(first) == b"one\n"
        with pytest.raises(Busy, match="1 readers follow logs already"):
            readers.follow(log, lambda: False, 10)
        await first.aclose()  # type: ignore[attr-defined]
        assert [text async for text in readers.follow(log, lambda: True, 10)] == [b"one\n"]
        assert [text async for text in readers.follow(None, lambda: True, 10)] == []

    with_readers(run)


def test_a_reader_that_is_called_off_while_it_waits_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follow, "POLL_S", 3600)
    log = tmp_path / "log"
    log.write_bytes(b"one\n")

    async def run() -> None:
        readers = LogReaders(limit=1)

        async def read(seen: asyncio.Event) -> None:
            async for _ in readers.follow(log, lambda: False, 10):
                seen.set()

        for _ in range(2):
            seen = asyncio.Event()
            reading = asyncio.create_task(read(seen))
            await seen.wait()
            reading.cancel()
            await asyncio.wait((reading,))

    with_readers(run)
