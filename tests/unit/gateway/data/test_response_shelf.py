"""Memory keeps what was used last within its bounds; the keeper never makes anybody wait for a shelf."""

import asyncio
import logging

import pytest

from cortex.contract.error import StoreUnavailable
from cortex.dialects.interface import Keep
from cortex.gateway.data import response_shelf
from cortex.gateway.data.response_shelf import MemoryShelf, ResponseKeeper
from cortex.gateway.ports import ShelfLimit
from cortex.kit.task import TaskOwner
from cortex.testing.virtual_clock import VirtualClock


def kept(name: str, record: bytes = b"x") -> Keep:
    return Keep(id=name, record=record)


def a_shelf(clock: VirtualClock | None = None, **limit: float) -> MemoryShelf:
    return MemoryShelf(ShelfLimit(**limit), (clock or VirtualClock()).now_s)


async def there(shelf: MemoryShelf, *names: str) -> list[str]:
    return [name for name in names if await shelf.get(name) is not None]


class GatedShelf(MemoryShelf):
    """One that takes a record only when it may; ``asked`` is what it was asked for, in order."""

    def __init__(self) -> None:
        super().__init__(ShelfLimit(), VirtualClock().now_s)
        self.may = asyncio.Event()
        self.asked: list[str] = []

    async def put(self, kept: Keep) -> None:
        self.asked.append(f"put {kept.id} {kept.record.decode()}")
        await self.may.wait()
        await super().put(kept)

    async def delete(self, response_id: str) -> bool:
        self.asked.append(f"delete {response_id}")
        return await super().delete(response_id)


def test_of_too_many_the_one_goes_that_was_not_used_for_longest() -> None:
    async def run() -> None:
        shelf = a_shelf(max_count=2)
        await shelf.put(kept("a"))
        await shelf.put(kept("b"))
        await shelf.get("a")
        await shelf.put(kept("c"))
        assert await there(shelf, "a", "b", "c") == ["a", "c"]

    asyncio.run(run())


def test_bytes_are_bounded_and_counted_right_through_replacing_and_deleting() -> None:
    async def run() -> None:
        shelf = a_shelf(max_bytes=10)
        await shelf.put(kept("a", b"12345"))
        await shelf.put(kept("a", b"1234"))
        await shelf.put(kept("b", b"123456"))
        assert (shelf.bytes, await there(shelf, "a", "b")) == (10, ["a", "b"])
        await shelf.put(kept("c", b"1"))
        assert (shelf.bytes, await there(shelf, "a", "b", "c")) == (7, ["b", "c"])
        assert await shelf.delete("b")
        assert not await shelf.delete("b")
        assert shelf.bytes == 1

    asyncio.run(run())


def test_one_that_is_larger_than_all_room_is_not_kept_nor_the_one_it_replaces() -> None:
    async def run() -> None:
        shelf = a_shelf(max_bytes=10)
        await shelf.put(kept("a"))
        await shelf.put(kept("a", b"12345678901"))
        assert (shelf.bytes, await there(shelf, "a")) == (0, [])

    asyncio.run(run())


def test_age_counts_from_the_last_put_however_often_it_is_asked_for() -> None:
    async def run() -> None:
        clock = VirtualClock()
        shelf = a_shelf(clock, max_age_s=60)
        await shelf.put(kept("a"))
        await shelf.put(kept("b"))
        clock.advance(50)
        await shelf.put(kept("a", b"new"))
        clock.advance(20)
        assert await there(shelf, "a", "b") == ["a"]
        assert not await shelf.delete("b")
        clock.advance(50)
        assert await there(shelf, "a") == []
        assert shelf.bytes == 0

    asyncio.run(run())


def test_what_a_keeper_was_given_is_there_at_once_and_on_the_shelf_in_the_end() -> None:
    async def run() -> None:
        shelf, tasks = GatedShelf(), TaskOwner()
        keeper = ResponseKeeper(shelf, tasks)
        keeper.keep(kept("a", b"queued"))
        keeper.keep(kept("b"))
        await asyncio.sleep(0)
        keeper.keep(kept("a", b"completed"))
        assert await keeper.get("a") == b"completed"
        shelf.may.set()
        await keeper.flush(10)
        assert await shelf.get("a") == b"completed"
        assert shelf.asked == ["put a queued", "put b x", "put a completed"]
        assert len(tasks) == 0

    asyncio.run(run())


def test_what_is_deleted_while_it_is_being_written_stays_deleted() -> None:
    async def run() -> None:
        shelf, tasks = GatedShelf(), TaskOwner()
        keeper = ResponseKeeper(shelf, tasks)
        keeper.keep(kept("a"))
        await asyncio.sleep(0)
        deleting = asyncio.create_task(keeper.delete("a"))
        await asyncio.sleep(0)
        shelf.may.set()
        assert await deleting
        await keeper.flush(10)
        assert await keeper.get("a") is None
        assert not await keeper.delete("a")

    asyncio.run(run())


def test_a_shelf_that_cannot_be_asked_loses_a_record_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryShelf):
        async def put(self, kept: Keep) -> None:
            raise StoreUnavailable("gone fishing")

    async def run() -> None:
        keeper = ResponseKeeper(Broken(ShelfLimit(), VirtualClock().now_s), TaskOwner())
        await keeper.put(kept("a"))
        await keeper.put(kept("b"))
        await keeper.flush(10)
        assert await keeper.get("a") is None

    caplog.set_level(logging.WARNING)
    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert said == ["response a is not kept: gone fishing", "response b is not kept: gone fishing"]


def test_what_waits_for_a_slow_shelf_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(response_shelf, "MAX_PENDING_BYTES", 10)

    async def run() -> None:
        shelf, tasks = GatedShelf(), TaskOwner()
        keeper = ResponseKeeper(shelf, tasks)
        for name in "abc":
            keeper.keep(kept(name, b"12345"))
        assert [await keeper.get(name) for name in "abc"] == [None, b"12345", b"12345"]
        await tasks.stop()

    asyncio.run(run())
    assert "response a is not kept" in caplog.text


def test_what_is_on_its_way_from_another_gateway_is_waited_for() -> None:
    async def test() -> None:
        shelf, tasks = a_shelf(), TaskOwner()
        keeper = ResponseKeeper(shelf, tasks, patience_s=(0, 0, 0))
        asking = asyncio.get_running_loop().create_task(keeper.get("late"))
        await asyncio.sleep(0)
        await shelf.put(Keep(id="late", record=b"here"))
        assert await asking == b"here"
        assert await keeper.get("never") is None

    asyncio.run(test())


def test_how_old_a_record_is_can_be_told() -> None:
    async def test() -> None:
        clock = VirtualClock()
        shelf = a_shelf(clock)
        await shelf.put(Keep(id="a", record=b"x"))
        clock.advance(5)
        assert await shelf.age_s("a") == 5
        assert await shelf.age_s("b") is None

    asyncio.run(test())
