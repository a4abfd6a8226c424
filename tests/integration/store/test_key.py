"""Keys that several gateways share, in both kinds of store: what one changes holds on the others within a second."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.postgresql import PostgreSQL

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key, KeyWish
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.key_opening import GatewayKeys
from cortex.gateway.settings import GatewaySection, GatewaySettings, StoreSection
from cortex.gateway.store.key_watch import CHECK_S
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
        self.all = GatewayKeys(settings, self.store, self.tasks)

    @property
    def book(self) -> MemoryKeyBook:
        assert self.all.book is not None
        return self.all.book

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


def test_what_one_gateway_makes_changes_and_ends_the_other_knows_within_a_second(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 2) as (one, other):
            assert one.all.keys is not None
            assert not other.book.is_needed
            made = await one.all.keys.create(KeyWish(name="alice"))
            took_s = [await other.until(made.secret, holds=True)]
            assert other.book.is_needed
            turned = await one.all.keys.rotate(made.key.id)
            took_s.append(await other.until(turned.secret, holds=True))
            assert other.book.find(made.secret.encode()) is None
            await one.all.keys.revoke(made.key.id)
            took_s.append(await other.until(turned.secret, holds=False))
            assert max(took_s) < CHECK_S  # the server has said so, or the file was looked at: both within a second

    asyncio.run(run())


def test_known_keys_go_on_while_the_server_is_gone_and_changes_are_heard_of_after(own_postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        async with gateways(url, 1) as (one,):
            assert one.all.keys is not None
            made = await one.all.keys.create(KeyWish(name="alice"))
            await one.until(made.secret, holds=True)
            is_silent, failed = asyncio.Event(), one.book.failed

            def failing(error: StoreUnavailable) -> None:
                failed(error)
                is_silent.set()

            one.book.failed = failing  # type: ignore[method-assign]
            # In another thread: the server waits for what a connection that has just begun has to say.
            await asyncio.to_thread(own_postgresql.stop)
            async with asyncio.timeout(LIMIT_S):
                await is_silent.wait()
            assert one.book.is_needed
            assert one.book.find(made.secret.encode()) == made.key
            await asyncio.to_thread(own_postgresql.start)
            other = Gateway(url)
            assert other.all.keys is not None
            await other.all.keys.revoke(made.key.id)
            await one.until(made.secret, holds=False)
            assert other.store is not None
            await other.store.close()

    asyncio.run(run(own_postgresql.new_database()))
