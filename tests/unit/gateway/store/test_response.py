"""Responses in the store are found again by any gateway, and never become more than they may."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cortex.dialects.interface import Keep
from cortex.gateway.ports import ShelfLimit
from cortex.gateway.store import response
from cortex.gateway.store.database import Database
from cortex.gateway.store.response import SWEEP_EVERY, StoredResponses
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock

LIMIT = ShelfLimit()


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    database = Database(parse_store_url(f"sqlite:///{folder}/store.db"), VirtualClock())
    try:
        yield database
    finally:
        await database.close()


def with_store(folder: Path, test: Callable[[Database], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(folder) as database:
            await test(database)

    asyncio.run(run())


def kept(number: int, record: bytes = b"x") -> Keep:
    return Keep(id=f"resp_{number}", record=record)


async def ids(database: Database) -> list[str]:
    all_ids = text("SELECT id FROM response ORDER BY kept_at_s, id")
    return list(await database.run(lambda connection: connection.execute(all_ids).scalars().all()))


async def age(database: Database, response_id: str, by_s: float) -> None:
    older = text("UPDATE response SET kept_at_s = kept_at_s - :by WHERE id = :id").bindparams(by=by_s, id=response_id)
    await database.run(lambda connection: connection.execute(older))


async def sweep(shelf: StoredResponses) -> None:
    """Put as often as it takes for the next sweep; the last one put stays."""
    for _ in range(SWEEP_EVERY):
        await shelf.put(kept(99))


def test_what_one_gateway_puts_another_finds(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await StoredResponses(database, LIMIT).put(kept(1, b"\x00\xff record"))
        assert await StoredResponses(database, LIMIT).get("resp_1") == b"\x00\xff record"
        assert await StoredResponses(database, LIMIT).get("resp_2") is None

    with_store(tmp_path, test)


def test_a_later_record_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, LIMIT)
        await shelf.put(kept(1, b"queued"))
        await shelf.put(kept(1, b"completed"))
        assert await shelf.get("resp_1") == b"completed"
        assert await ids(database) == ["resp_1"]

    with_store(tmp_path, test)


def test_what_was_deleted_is_gone_and_was_there_only_once(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, LIMIT)
        await shelf.put(kept(1))
        assert await shelf.delete("resp_1")
        assert not await shelf.delete("resp_1")
        assert await shelf.get("resp_1") is None

    with_store(tmp_path, test)


def test_one_that_is_too_old_is_not_found_and_swept_away(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, ShelfLimit(max_age_s=60))
        await shelf.put(kept(1))
        await shelf.put(kept(2))
        await age(database, "resp_1", 61)
        assert await shelf.get("resp_1") is None
        assert await shelf.get("resp_2") == b"x"
        await sweep(shelf)
        assert await ids(database) == ["resp_2", "resp_99"]

    with_store(tmp_path, test)


def test_of_too_many_the_oldest_go(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, ShelfLimit(max_count=2))
        for number in range(3):
            await shelf.put(kept(number))
            await age(database, f"resp_{number}", 100 - number)
        await sweep(shelf)
        assert await ids(database) == ["resp_2", "resp_99"]

    with_store(tmp_path, test)


def test_of_too_large_ones_the_oldest_go(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, ShelfLimit(max_bytes=10))
        for number in range(3):
            await shelf.put(kept(number, b"12345"))
            await age(database, f"resp_{number}", 100 - number)
        await sweep(shelf)
        assert await ids(database) == ["resp_2", "resp_99"]

    with_store(tmp_path, test)


def test_one_that_is_too_large_is_not_kept_which_the_log_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(response, "MAX_RECORD_BYTES", 20)

    async def test(database: Database) -> None:
        for limit, record in ((ShelfLimit(max_bytes=10), b"x" * 11), (LIMIT, b"x" * 21)):
            shelf = StoredResponses(database, limit)
            await shelf.put(kept(1, record))
            assert await shelf.get("resp_1") is None

    with_store(tmp_path, test)
    said = [record.getMessage() for record in caplog.records if record.name == response.__name__]
    assert said == ["response resp_1 is not kept: it takes 11 bytes", "response resp_1 is not kept: it takes 21 bytes"]


def test_a_sweep_drops_so_many_at_most_and_the_next_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "SWEEP_MOST", 2)
    monkeypatch.setattr(response, "SWEEP_EVERY", 1)

    async def test(database: Database) -> None:
        wide, narrow = StoredResponses(database, LIMIT), StoredResponses(database, ShelfLimit(max_count=2))
        for number in range(6):
            await wide.put(kept(number))
            await age(database, f"resp_{number}", 100 - number)
        await narrow.put(kept(6))
        assert await ids(database) == ["resp_2", "resp_3", "resp_4", "resp_5", "resp_6"]
        await narrow.put(kept(6))
        assert await ids(database) == ["resp_4", "resp_5", "resp_6"]

    with_store(tmp_path, test)


def test_a_sweep_reads_no_records(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        shelf = StoredResponses(database, LIMIT)
        await shelf.put(kept(1))

        def plan(connection: Connection) -> str:
            query = shelf._surplus().compile(connection, compile_kwargs={"literal_binds": True})
            return str(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())

        assert "USING COVERING INDEX response_by_age" in await database.run(plan)

    with_store(tmp_path, test)
