"""A database that fails is left alone for growing times, told of once, and asked again."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cortex.contract.error import StoreUnavailable
from cortex.gateway.store.database import FIRST_REST_S, LONGEST_REST_S, Database
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock


class Works:
    """Some work, and how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0

    def __call__(self, connection: Connection) -> int:
        self.begun += 1
        return int(connection.execute(text("SELECT 1")).scalar_one())


def a_database(file: Path, clock: VirtualClock | None = None, **more: float) -> Database:
    return Database(parse_store_url(f"sqlite:///{file}"), clock or VirtualClock(), **more)


def test_work_is_done_in_a_database_that_was_made_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        database = a_database(tmp_path / "store.db")
        assert await database.run(Works()) == 1
        assert database.is_up
        await database.close()

    asyncio.run(run())
    assert (tmp_path / "store.db").exists()


def test_one_that_fails_rests_ever_longer_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def run() -> None:
        clock, work = VirtualClock(), Works()
        database = a_database(tmp_path / "absent" / "store.db", clock)
        for rest_s in (FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S):
            with pytest.raises(StoreUnavailable, match="unable to open database file"):
                await database.run(work)
            clock.advance(rest_s * 0.9)
            with pytest.raises(StoreUnavailable, match="not asked for a moment"):
                await database.run(work)
            clock.advance(rest_s)
        assert not database.is_up
        (tmp_path / "absent").mkdir()
        assert await database.run(work) == 1
        assert database.is_up
        assert work.begun == 1
        await database.close()

    asyncio.run(run())
    assert [record.getMessage().partition(f"{tmp_path}")[0] for record in caplog.records] == [
        "the store at sqlite:///"
    ] * 2
    assert "cannot be asked" in caplog.records[0].getMessage()
    assert "answers again" in caplog.records[1].getMessage()


def test_after_its_rest_one_asks_for_all(tmp_path: Path) -> None:
    async def run() -> None:
        clock, work = VirtualClock(), Works()
        database = a_database(tmp_path / "absent" / "store.db", clock)
        with pytest.raises(StoreUnavailable, match="unable to open"):
            await database.run(work)
        for _ in range(2):
            clock.advance(LONGEST_REST_S)
            said = await asyncio.gather(*[database.run(work) for _ in range(5)], return_exceptions=True)
            assert [str(one).partition(":")[0] for one in said] == [
                "the store cannot be asked",
                *["the store is not asked for a moment"] * 4,
            ]
        (tmp_path / "absent").mkdir()
        clock.advance(LONGEST_REST_S)
        assert await database.run(work) == 1
        assert await asyncio.gather(*[database.run(work) for _ in range(5)]) == [1] * 5
        await database.close()

    asyncio.run(run())


def test_who_asks_for_all_and_leaves_keeps_nobody_from_asking(tmp_path: Path) -> None:
    async def run() -> None:
        clock = VirtualClock()
        database = a_database(tmp_path / "absent" / "store.db", clock)
        with pytest.raises(StoreUnavailable):
            await database.run(Works())
        (tmp_path / "absent").mkdir()
        clock.advance(LONGEST_REST_S)
        leaving = asyncio.ensure_future(database.run(Works()))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait((leaving,))
        assert await database.run(Works()) == 1
        await database.close()

    asyncio.run(run())


def test_a_rest_has_a_longest(tmp_path: Path) -> None:
    async def run() -> None:
        clock = VirtualClock()
        database = a_database(tmp_path / "absent" / "store.db", clock)
        for _ in range(12):
            with pytest.raises(StoreUnavailable, match="unable to open"):
                await database.run(Works())
            clock.advance(LONGEST_REST_S)
        await database.close()

    asyncio.run(run())


def test_work_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        clock, goes_on = VirtualClock(), threading.Event()
        database = a_database(tmp_path / "store.db", clock, deadline_s=0.05)
        await database.run(Works())
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await database.run(lambda _connection: goes_on.wait())
        goes_on.set()
        clock.advance(LONGEST_REST_S)
        assert await database.run(Works()) == 1
        await database.close()

    asyncio.run(run())


def test_one_that_is_empty_when_it_is_back_gets_its_tables_again(tmp_path: Path) -> None:
    async def run() -> None:
        clock = VirtualClock()
        database = a_database(tmp_path / "store.db", clock)
        await database.run(Works())
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        count = text("SELECT count(*) FROM claim")
        with pytest.raises(StoreUnavailable, match="no such table"):
            await database.run(lambda connection: connection.execute(count).scalar_one())
        clock.advance(LONGEST_REST_S)
        assert await database.run(lambda connection: connection.execute(count).scalar_one()) == 0
        await database.close()

    asyncio.run(run())
