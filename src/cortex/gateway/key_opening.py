"""The keys of a gateway and who has signed in with them, put together: those of its store, in its memory.

Imports the store's libraries only where there is one.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.settings import GatewaySettings
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    from cortex.gateway.admin.dashboard.session import Sessions
    from cortex.gateway.ports import Keys
    from cortex.gateway.store.database import Database
    from cortex.gateway.store.key_watch import KeyWatch

START_S = 5.0
"""How long a start waits for the keys. Without them nobody is let in, so there is no hurry to open the door."""


class GatewayKeys:
    """``book`` for the front door, ``keys`` for operators, ``sessions`` for the dashboard; all None without a store."""

    def __init__(self, settings: GatewaySettings, store: "Database | None", tasks: TaskOwner, clock: Clock) -> None:
        self._tasks = tasks
        self._watch: KeyWatch | None = None
        self.book: MemoryKeyBook | None = None
        self.keys: Keys | None = None
        self.sessions: Sessions | None = None
        if store is None or settings.store.url is None:
            return
        from cortex.gateway.admin.dashboard.session import Sessions as SessionsInMemory
        from cortex.gateway.store.key import StoredKeys
        from cortex.gateway.store.key_watch import KeyWatch as Watch
        from cortex.gateway.store.session import StoredSessions
        from cortex.gateway.store.session_watch import SessionWatch

        url = parse_store_url(settings.store.url)
        self.book = MemoryKeyBook(fails_closed=settings.gateway.keys_fail_closed)
        keys = StoredKeys(store, lambda: watch.catch_up())
        self.keys = keys
        stored = StoredSessions(store)
        self.sessions = SessionsInMemory(self.book, stored, clock)
        dsn = url.text if url.backend == "postgresql" else None
        self._watch = watch = Watch(keys, self.book, dsn, SessionWatch(stored, self.sessions))

    async def start(self) -> None:
        """Read the keys, and go on reading them."""
        if self._watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_S):
                    await self._watch.look()
            self._tasks.start(self._watch.run(), "watch the keys")
