"""Work is one transaction, and what stands in a URL reaches the driver in its own words."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from cortex.gateway.store import engine as engine_module
from cortex.gateway.store.engine import Engine, Postgresql, _asyncpg_url, go_on_reading, make_engine
from cortex.gateway.store_url import parse_store_url


def with_sqlite(folder: Path, test: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = make_engine(parse_store_url(f"sqlite:///{folder}/store.db"), who="test", deadline_s=1.0)
        try:
            await engine.run(lambda connection: connection.execute(text("CREATE TABLE t (n INTEGER)")))
            await test(engine)
        finally:
            await engine.close()

    asyncio.run(run())


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM t")).scalar_one())


def test_work_that_raises_is_undone(tmp_path: Path) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        raise KeyError("no")

    async def test(engine: Engine) -> None:
        with pytest.raises(KeyError):
            await engine.run(work)
        assert await engine.run(count) == 0

    with_sqlite(tmp_path, test)


def test_a_file_that_somebody_holds_as_it_is_opened_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself may not wait for the lock by which a file gets its log."""
    path, waited = tmp_path / "store.db", []
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE t (n INTEGER)")
    holder.execute("BEGIN EXCLUSIVE")

    def pause(seconds: float) -> None:
        if not waited:
            holder.execute("ROLLBACK")
        waited.append(seconds)

    async def run() -> None:
        engine = make_engine(parse_store_url(f"sqlite:///{path}"), who="test", deadline_s=0.02)
        assert await engine.run(count) == 0
        await engine.close()

    monkeypatch.setattr(engine_module, "_pause", pause)
    asyncio.run(run())
    assert waited
    holder.close()


def test_a_file_that_stays_locked_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (n INTEGER)")
    holder.execute("BEGIN EXCLUSIVE")

    async def run() -> None:
        engine = make_engine(parse_store_url(f"sqlite:///{path}"), who="test", deadline_s=0.02)
        with pytest.raises(OperationalError, match="locked"):
            await engine.run(count)
        await engine.close()

    asyncio.run(run())
    holder.close()


def test_a_file_is_shared_by_several_without_losing_anything(tmp_path: Path) -> None:
    def add(connection: Connection) -> None:
        highest = connection.execute(text("SELECT coalesce(max(n), 0) FROM t")).scalar_one()
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": highest + 1})

    async def test(engine: Engine) -> None:
        url = parse_store_url(f"sqlite:///{tmp_path}/store.db")
        engines = [make_engine(url, who="test", deadline_s=5.0) for _ in range(4)]
        await asyncio.gather(*(one.run(add) for one in engines * 10))
        assert await engine.run(lambda c: c.execute(text("SELECT count(DISTINCT n) FROM t")).scalar_one()) == 40
        assert await engine.run(lambda c: c.execute(text("PRAGMA journal_mode")).scalar_one()) == "wal"
        await asyncio.gather(*(one.close() for one in engines))

    with_sqlite(tmp_path, test)


def test_a_file_that_is_made_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    async def test(engine: Engine) -> None:
        def modes(connection: Connection) -> dict[str, int]:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            return {path.name: path.stat().st_mode & 0o007 for path in tmp_path.iterdir()}

        assert await engine.run(modes) == {"store.db": 0, "store.db-wal": 0, "store.db-shm": 0}

    before = os.umask(0)
    try:
        with_sqlite(tmp_path, test)
    finally:
        os.umask(before)


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.touch()
    file.chmod(0o664)

    async def test(engine: Engine) -> None:
        assert await engine.run(count) == 0
        assert file.stat().st_mode & 0o777 == 0o664

    with_sqlite(tmp_path, test)


def test_postgresql_is_told_in_its_drivers_words() -> None:
    url = parse_store_url("postgresql://u:p@h:1/d?sslmode=require")
    assert isinstance(make_engine(url, who="test", deadline_s=1.0), Postgresql)
    assert _asyncpg_url(url).render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h:1/d?ssl=require"
    assert _asyncpg_url(parse_store_url("postgresql://h/d")).drivername == "postgresql+asyncpg"


def test_a_question_that_nobody_waits_for_ends_by_itself(tmp_path: Path) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")

    def work(connection: Connection) -> object:
        go_on_reading(connection, lambda: True)
        return connection.execute(endless).scalar()

    async def test(engine: Engine) -> None:
        with pytest.raises(OperationalError, match="interrupted"):
            await engine.run(work)

    with_sqlite(tmp_path, test)
