"""Keeps keys and sessions in a gateway's memory what they are in the store: within a second, while it can be asked.

PostgreSQL says when they have changed, over a connection that is kept for that; a file of SQLite is looked at. What a
change is, ``revision`` says, so that most looks read one number.
"""

import asyncio
import contextlib
import logging
from typing import Any, Protocol

import asyncpg

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import KeyRecord
from cortex.gateway.store.database import DEADLINE_S
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store.revision import CHANNEL
from cortex.gateway.store.session_watch import SessionWatch

LOOK_S = 0.5
"""Between two looks where nobody says what has changed."""
CHECK_S = 5.0
"""Between two looks where somebody does: a connection may be dead without saying so."""

log = logging.getLogger(__name__)


class Book(Protocol):
    """What is kept up to date; ``data/key_book.py`` has it."""

    def take(self, records: tuple[KeyRecord, ...]) -> None:
        """Go on with these keys."""

    def answered(self) -> None:
        """The store can be asked."""

    def failed(self, error: StoreUnavailable) -> None:
        """It cannot."""


class KeyWatch:
    """Reads the keys of ``keys`` into ``book``. ``dsn``: of the server that says what has changed, None for a file."""

    def __init__(
        self, keys: StoredKeys, book: Book, dsn: str | None, sessions: SessionWatch[Any] | None = None
    ) -> None:
        self._sessions = sessions
        self._keys = keys
        self._book = book
        self._dsn = dsn
        self._known = -1
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        """Held by a look, so that none ends with what is older than another has read meanwhile."""

    async def catch_up(self) -> None:
        """Know what was changed here before anybody is told that it was. Where that fails the next look does it."""
        self.wake()
        with contextlib.suppress(Exception):
            await self.look()

    def wake(self) -> None:
        """Look now."""
        self._news.set()

    async def look(self) -> bool:
        """Read what has changed; return whether the store could be asked."""
        async with self._turn:
            try:
                await self._read()
            except StoreUnavailable as error:
                self._book.failed(error)
                return False
            self._book.answered()
            return True

    async def _read(self) -> None:
        """Read the keys, then who has signed in with them; both again when the second could not be read."""
        number, records = await self._keys.read(self._known)
        if number != self._known:
            self._book.take(records)
            if self._sessions is not None:
                await self._sessions.read()
            self._known = number
        if self._sessions is not None:
            await self._sessions.settle()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                if await self.look() and self._dsn is not None:
                    await self._listen(self._dsn)
                await self._rest(LOOK_S)
            except Exception:  # a defect of ours must not let keys live on that were revoked
                log.exception("watching the keys")
                self._book.failed(StoreUnavailable("the keys cannot be read"))
                await self._rest(CHECK_S)

    async def _listen(self, dsn: str) -> None:
        """Look whenever the server says so, until its connection is lost."""
        try:
            connection = await asyncpg.connect(dsn, timeout=DEADLINE_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            log.debug("changes of keys are not told: %s", exc)
            return
        try:
            connection.add_termination_listener(self._woken)
            async with asyncio.timeout(DEADLINE_S):
                await connection.add_listener(CHANNEL, self._woken)
            while not connection.is_closed() and await self.look():
                await self._rest(CHECK_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            log.debug("changes of keys are not told any more: %s", exc)
        finally:
            connection.terminate()

    def _woken(self, *_: Any) -> None:
        self._news.set()

    async def _rest(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        self._news.clear()
