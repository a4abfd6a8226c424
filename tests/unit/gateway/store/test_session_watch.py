"""What a gateway knows of sessions follows the store, and what has ended here ends there."""

import asyncio
from collections.abc import Collection

import pytest

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import SessionRecord
from cortex.gateway.store.session_watch import SessionWatch

RECORD = SessionRecord(b"digest", "key_1", b"key", 10.0)


class Stored:
    """A store with one session, which may be silent."""

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.is_silent = False

    async def read(self) -> tuple[SessionRecord, ...]:
        self.said.append("read")
        return (RECORD,)

    async def end(self, digests: Collection[bytes]) -> None:
        if self.is_silent:
            raise StoreUnavailable("no route")
        self.said.append(f"end {len(digests)}")


class Book:
    """Writes down what it is told, and when."""

    def __init__(self, said: list[str], left: tuple[bytes, ...] = ()) -> None:
        self.said = said
        self.left = left

    def reading(self) -> int:
        self.said.append("reading")
        return 7

    def take(self, records: tuple[SessionRecord, ...], reading: int) -> None:
        assert records == (RECORD,)
        self.said.append(f"take as of {reading}")

    def unended(self) -> tuple[bytes, ...]:
        return self.left

    def ended(self, digests: Collection[bytes]) -> None:
        self.left = tuple(one for one in self.left if one not in digests)


class Scene:
    def __init__(self, *left: bytes) -> None:
        self.said: list[str] = []
        self.stored, self.book = Stored(self.said), Book(self.said, left)
        self.watch = SessionWatch(self.stored, self.book)  # type: ignore[arg-type]


def test_the_moment_that_a_reading_is_of_is_taken_before_it() -> None:
    it = Scene()
    asyncio.run(it.watch.read())
    assert it.said == ["reading", "read", "take as of 7"]


def test_what_has_ended_here_ends_in_the_store_once() -> None:
    it = Scene(b"a", b"b")
    asyncio.run(it.watch.settle())
    asyncio.run(it.watch.settle())
    assert it.said == ["end 2"]


def test_it_is_tried_again_until_the_store_has_heard_of_it() -> None:
    it = Scene(b"a")
    it.stored.is_silent = True
    with pytest.raises(StoreUnavailable):
        asyncio.run(it.watch.settle())
    assert it.book.left == (b"a",)
    it.stored.is_silent = False
    asyncio.run(it.watch.settle())
    assert it.book.left == ()
