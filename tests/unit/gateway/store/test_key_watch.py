"""What is in memory follows what is in a file of SQLite, and says when it cannot."""

import asyncio
from pathlib import Path

import pytest

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key, KeyWish
from cortex.gateway.ports import KeyRecord
from cortex.gateway.store.database import Database
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store.key_watch import LOOK_S, KeyWatch
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock

LIMIT_S = 30


class Book:
    """Writes down what it is told; ``changed`` is set by every take."""

    def __init__(self) -> None:
        self.taken: list[tuple[Key, ...]] = []
        self.said: list[str] = []
        self.changed = asyncio.Event()

    def take(self, records: tuple[KeyRecord, ...]) -> None:
        self.taken.append(tuple(record.key for record in records))
        self.changed.set()

    def answered(self) -> None:
        self.said.append("answered")

    def failed(self, error: StoreUnavailable) -> None:
        self.said.append("failed")


class Scene:
    """One gateway's watch on a file."""

    def __init__(self, file: Path, book: Book | None = None) -> None:
        self.database = Database(parse_store_url(f"sqlite:///{file}"), VirtualClock())
        self.book = book or Book()
        self.keys = StoredKeys(self.database, lambda: self.watch.catch_up())
        self.watch = KeyWatch(self.keys, self.book, None)


def test_what_has_not_changed_is_not_taken_again(tmp_path: Path) -> None:
    async def run() -> None:
        it = Scene(tmp_path / "s.db")
        assert [await it.watch.look() for _ in range(3)] == [True] * 3
        made = await it.keys.create(WISH)
        assert [await it.watch.look() for _ in range(3)] == [True] * 3
        assert it.book.taken == [(), (made.key,)]
        await it.database.close()

    asyncio.run(run())


def test_what_is_made_or_ended_here_is_so_before_anybody_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        it = Scene(tmp_path / "s.db")
        made = await it.keys.create(WISH)
        assert it.book.taken[-1] == (made.key,)
        ended = await it.keys.revoke(made.key.id)
        assert it.book.taken[-1] == (ended,)
        await it.database.close()

    asyncio.run(run())


def test_of_two_looks_at_once_none_ends_with_what_is_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        it = Scene(tmp_path / "s.db")
        await it.watch.look()
        has_read, may_end = asyncio.Event(), asyncio.Event()
        read = it.keys.read

        async def held_up(known: int) -> tuple[int, tuple[KeyRecord, ...]]:
            found = await read(known)
            has_read.set()
            await may_end.wait()
            return found

        monkeypatch.setattr(it.keys, "read", held_up)
        slow = asyncio.create_task(it.watch.look())
        await has_read.wait()
        monkeypatch.setattr(it.keys, "read", read)
        making = asyncio.create_task(it.keys.create(WISH))
        while not (await read())[1]:
            """It is being written."""
        for _ in range(3):  # whoever else reads it, has done so by then
            await read()
        may_end.set()
        await slow
        made = await making
        assert it.book.taken[-1] == (made.key,)
        await it.database.close()

    asyncio.run(run())


def test_a_store_that_cannot_be_asked_is_said_to_be_so_and_what_was_read_stays(tmp_path: Path) -> None:
    async def run() -> None:
        folder = tmp_path / "absent"
        it = Scene(folder / "s.db")
        assert not await it.watch.look()
        assert (it.book.said, it.book.taken) == (["failed"], [])
        await it.database.close()

    asyncio.run(run())


def test_a_change_made_here_or_elsewhere_is_heard_of(tmp_path: Path) -> None:
    async def run() -> None:
        it, other = Scene(tmp_path / "s.db"), Scene(tmp_path / "s.db")
        watching = asyncio.create_task(it.watch.run())
        async with asyncio.timeout(LIMIT_S):
            await it.book.changed.wait()
            for keys in (it.keys, other.keys):
                it.book.changed.clear()
                await keys.create(WISH)
                await it.book.changed.wait()
        assert [len(keys) for keys in it.book.taken] == [0, 1, 2]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await it.database.close()
        await other.database.close()

    asyncio.run(run())


def test_a_defect_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Book):
        def take(self, records: tuple[KeyRecord, ...]) -> None:
            self.changed.set()
            if not records:
                raise ValueError("a defect")
            super().take(records)

    async def run() -> None:
        it = Scene(tmp_path / "s.db", Clumsy())
        watching = asyncio.create_task(it.watch.run())
        async with asyncio.timeout(LIMIT_S):
            await it.book.changed.wait()
            it.book.changed.clear()
            made = await it.keys.create(WISH)
            await it.book.changed.wait()
        assert it.book.taken == [(made.key,)]
        assert "failed" in it.book.said
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await it.database.close()

    asyncio.run(run())
    assert "watching the keys" in caplog.text


def test_keys_are_taken_though_sessions_cannot_be_read_and_both_are_read_again(tmp_path: Path) -> None:
    class Sessions:
        """Cannot be read the first time."""

        def __init__(self) -> None:
            self.done: list[str] = []

        async def read(self) -> None:
            self.done.append("read")
            if self.done.count("read") == 1:
                raise StoreUnavailable("the store cannot be asked")

        async def settle(self) -> None:
            self.done.append("settle")

    async def run() -> None:
        it, sessions = Scene(tmp_path / "s.db"), Sessions()
        made = await StoredKeys(it.database).create(WISH)
        watch = KeyWatch(it.keys, it.book, None, sessions)  # type: ignore[arg-type]
        assert [await watch.look() for _ in range(3)] == [False, True, True]
        assert it.book.taken == [(made.key,), (made.key,)]
        assert it.book.said == ["failed", "answered", "answered"]
        assert sessions.done == ["read", "read", "settle", "settle"]
        await it.database.close()

    asyncio.run(run())


def test_two_looks_fit_into_the_second_that_is_promised() -> None:
    assert 2 * LOOK_S <= 1.0


WISH = KeyWish(name="alice")
