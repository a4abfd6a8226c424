"""Keys that several gateways share, in both kinds of store: what one changes holds on the others within a second."""

import asyncio

from tests.integration.store.key_gateway import LIMIT_S, Gateway, gateways
from tests.postgresql import PostgreSQL

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import KeyWish
from cortex.gateway.store.key_watch import CHECK_S


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
