"""Gateways that share a store, as far as their keys and who has signed in with them goes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cortex.contract.key import Key
from cortex.gateway.admin.dashboard.session import Sessions
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.key_opening import GatewayKeys
from cortex.gateway.settings import GatewaySection, GatewaySettings, StoreSection
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner

LIMIT_S = 30


class Gateway:
    """The keys of one gateway."""

    def __init__(self, url: str, *, fails_closed: bool = False) -> None:
        section = GatewaySection(keys_fail_closed=fails_closed)
        settings = GatewaySettings(gateway=section, store=StoreSection(url=url))
        self.store = open_store(settings.store, SystemClock(), "gateway")
        self.tasks = TaskOwner()
        self.all = GatewayKeys(settings, self.store, self.tasks, SystemClock())

    @property
    def book(self) -> MemoryKeyBook:
        assert self.all.book is not None
        return self.all.book

    @property
    def sessions(self) -> Sessions:
        assert self.all.sessions is not None
        return self.all.sessions

    async def until_found(self, note: str, *, is_there: bool) -> None:
        """Wait until a session is known here, or is not any more."""
        async with asyncio.timeout(LIMIT_S):
            while (self.sessions.find(note) is not None) != is_there:  # noqa: ASYNC110 - memory has no event
                await asyncio.sleep(0)

    async def until(self, secret: str, *, holds: bool) -> float:
        """Wait until a secret is a key that holds, or is none; return how long that took."""
        began_s = SystemClock().now_s()
        async with asyncio.timeout(LIMIT_S):
            while is_valid(self.book.find(secret.encode())) != holds:  # noqa: ASYNC110 - memory has no event
                await asyncio.sleep(0)
        return SystemClock().now_s() - began_s


def is_valid(key: Key | None) -> bool:
    return key is not None and key.revoked_s is None


@contextlib.asynccontextmanager
async def gateways(url: str, count: int) -> AsyncIterator[list[Gateway]]:
    all_of_them = [Gateway(url) for _ in range(count)]
    try:
        for one in all_of_them:
            await one.all.start()
        yield all_of_them
    finally:
        for one in all_of_them:
            await one.tasks.stop()
            assert one.store is not None
            await one.store.close()
