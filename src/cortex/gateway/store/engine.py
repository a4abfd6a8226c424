"""The two kinds of database, both doing a piece of work in one transaction without holding up the event loop.

SQLite has a thread of its own, through Python's own module: what it does is bounded by its wait for a lock, and what is
given up meanwhile ends by itself. PostgreSQL is spoken to by asyncpg; what is given up is broken off.
"""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import sleep as _pause
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from cortex.gateway.store_url import StoreUrl
from cortex.kit.task import TaskOwner

T = TypeVar("T")

MOST_CONNECTIONS = 4
"""Of one gateway to a server at a time."""

CONNECTED_S = 0.5
"""A connection that is being made when the gateway ends has so long: then it is broken off."""

TRY_MS = 5
"""Between two attempts to have a lock for which SQLite does not wait."""

STEPS_BETWEEN_LOOKS = 100_000
"""Of SQLite's machine, some milliseconds, until it looks whether a question still matters."""


class Engine(Protocol):
    """Does work in a database."""

    dialect: str
    """``sqlite`` or ``postgresql``."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one transaction, which is undone when it raises. Raises what the driver raises."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def make_engine(url: StoreUrl, *, who: str, deadline_s: float) -> Engine:
    """Return the engine for a URL; connects to nothing. ``who``: how the database shows this process."""
    return Sqlite(url, deadline_s) if url.backend == "sqlite" else Postgresql(url, who, deadline_s)


class Sqlite:
    """A file, which several processes of one host may share."""

    dialect = "sqlite"

    def __init__(self, url: StoreUrl, deadline_s: float) -> None:
        self._path = url.path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        # Opened for every piece of work: that costs less than a millisecond, and a file that was replaced is noticed.
        self._engine = create_engine(URL.create("sqlite", database=url.path), poolclass=NullPool)
        self._busy_ms = int(deadline_s * 1000)
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "begin", _begin_at_once)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """See ``Engine``."""

        def transact() -> T:
            _make_for_us(self._path)
            with self._engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, transact)

    async def close(self) -> None:
        """See ``Engine``."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _connected(self, connection: Any, _record: object) -> None:
        # SQLAlchemy begins transactions, not the driver, which would begin them too late for a lock.
        connection.isolation_level = None
        _keep_a_log(connection, self._busy_ms)
        connection.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
        connection.execute("PRAGMA synchronous = NORMAL")


def _keep_a_log(connection: Any, busy_ms: int) -> None:
    """Make the file one with a log (WAL), as it stays: readers go on while one of several processes writes.

    For this lock SQLite does not always wait: of three who begin with a new file at the same time, one of 20 times one
    was told that it is locked (measured 2026-11; sqlite.org/wal.html tells when that may be).
    """
    connection.execute(f"PRAGMA busy_timeout = {TRY_MS}")
    for tries_left in reversed(range(max(1, busy_ms // (2 * TRY_MS)))):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not tries_left:
                raise
        _pause(TRY_MS / 1000)


def _make_for_us(path: str) -> None:
    """Make a file that is missing, for its owner and group only: in it are answers of models, and hashes of keys.

    What SQLite puts beside it has the same mode. Why a file cannot be made SQLite itself says.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640))


def _begin_at_once(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class Postgresql:
    """A server."""

    dialect = "postgresql"

    def __init__(self, url: StoreUrl, who: str, deadline_s: float) -> None:
        # A connection for every piece of work: there are few, and none is left behind that a restart of the server
        # breaks, or that cannot be closed because the server stands still.
        self._engine = create_async_engine(
            _asyncpg_url(url),
            poolclass=NullPool,
            connect_args={
                "timeout": deadline_s,
                "server_settings": {"application_name": who},
                "async_creator_fn": self._connect,
            },
        )
        self._turns = asyncio.Semaphore(MOST_CONNECTIONS)
        self._connecting = TaskOwner()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """See ``Engine``."""
        async with self._turns, self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """See ``Engine``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECTED_S):
                await self._connecting.over()
        await self._connecting.stop()
        await self._engine.dispose()

    async def _connect(self, *args: Any, **options: Any) -> Any:
        """Connect to the end, also when nobody waits any more, and let go of it then.

        asyncpg that is broken off as its connection begins leaves an exception behind, of which the log tells later.
        """
        import asyncpg

        connecting = self._connecting.start(outcome(asyncpg.connect(*args, **options)), "connect to the store")
        try:
            came = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_let_go)
            raise
        if isinstance(came, Exception):
            raise came
        return came


def _let_go(connecting: asyncio.Task[Any]) -> None:
    if not connecting.cancelled() and not isinstance(came := connecting.result(), Exception):
        came.terminate()


async def outcome(doing: Awaitable[T]) -> T | Exception:
    """Return what came of it, or why nothing did: nobody may be left who would hear of an exception."""
    try:
        return await doing
    except Exception as exc:
        return exc


def _asyncpg_url(url: StoreUrl) -> URL:
    """Return the URL as SQLAlchemy and asyncpg want it: libpq says ``sslmode``, asyncpg ``ssl``."""
    wanted = make_url(url.text).set(drivername="postgresql+asyncpg")
    mode = wanted.query.get("sslmode")
    return wanted if mode is None else wanted.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def go_on_reading(connection: Connection, is_given_up: Callable[[], bool]) -> None:
    """Go on in a transaction that only reads, before anything was written in it.

    On SQLite it keeps nobody from writing, and ends in the middle of a statement once nobody waits for it any more.
    """
    if connection.dialect.name != "sqlite":
        return
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("BEGIN")
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(is_given_up, STEPS_BETWEEN_LOOKS)
