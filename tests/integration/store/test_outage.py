"""PostgreSQL goes away, stands still and comes back: the store says so soon, and goes on by itself."""

import asyncio
import gc

import pytest
from tests.postgresql import PostgreSQL

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import Claim
from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import FIRST_REST_S, Database
from cortex.gateway.store.engine import make_engine
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock

DEADLINE_S = 1.0
STEPS_OF_A_CONNECTION = 40
"""Of the event loop, at least, until a connection is made."""


class SkippingClock(SystemClock):
    """The host's clock, and a rest of the store's takes no time of the test's."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.skipped_s


class Asker:
    """A gateway's claims in a store that may be gone."""

    def __init__(self, url: str) -> None:
        self.clock = SkippingClock()
        self.database = Database(parse_store_url(url), self.clock, deadline_s=DEADLINE_S)
        self.claims = StoredClaims(self.database, "one")

    async def ask(self) -> Claim:
        self.clock.skipped_s += 60
        return await self.claims.claim("steward", "", 3600)

    async def ask_in_vain(self) -> float:
        """Return how long it took to learn that the store cannot be asked."""
        self.clock.skipped_s += 60
        asked_s = SystemClock().now_s()
        with pytest.raises(StoreUnavailable):
            await self.claims.claim("steward", "", 3600)
        return SystemClock().now_s() - asked_s


def test_one_that_was_stopped_is_used_again_when_it_is_back(own_postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        asker = Asker(url)
        before = await asker.ask()
        own_postgresql.stop()
        assert await asker.ask_in_vain() < 3 * DEADLINE_S
        assert not asker.database.is_up
        await asyncio.to_thread(own_postgresql.start)
        after = await asker.ask()
        assert asker.database.is_up
        assert (after.is_mine, after.number) == (True, before.number)
        await asker.database.close()

    asyncio.run(run(own_postgresql.new_database()))


def test_one_that_stands_still_holds_nobody_up_for_longer_than_the_deadline(own_postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        asker = Asker(url)
        await asker.ask()
        own_postgresql.freeze()
        try:
            assert await asker.ask_in_vain() < 3 * DEADLINE_S
            assert await asker.ask_in_vain() < 3 * DEADLINE_S
        finally:
            own_postgresql.thaw()
        assert (await asker.ask()).is_mine
        await asker.database.close()

    asyncio.run(run(own_postgresql.new_database()))


def test_a_gateway_that_starts_before_its_store_uses_it_once_it_is_there(own_postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        asker = Asker(url)
        await asker.ask_in_vain()
        assert asker.clock.skipped_s > FIRST_REST_S
        await asyncio.to_thread(own_postgresql.start)
        assert (await asker.ask()).is_mine
        await asker.database.close()

    url = own_postgresql.new_database()
    own_postgresql.stop()
    asyncio.run(run(url))


def test_a_wrong_password_or_database_is_said_in_the_servers_words(postgresql: PostgreSQL) -> None:
    async def run() -> None:
        asker = Asker(postgresql.url("absent"))
        with pytest.raises(StoreUnavailable, match='database "absent" does not exist'):
            await asker.ask()
        await asker.database.close()

    asyncio.run(run())


def test_one_that_stands_still_does_not_keep_a_gateway_from_ending(own_postgresql: PostgreSQL) -> None:
    async def run(url: str) -> float:
        asker = Asker(url)
        await asker.ask()
        own_postgresql.freeze()
        try:
            asked_s = SystemClock().now_s()
            await asker.database.close()
            return SystemClock().now_s() - asked_s
        finally:
            own_postgresql.thaw()

    assert asyncio.run(run(own_postgresql.new_database())) < 3 * DEADLINE_S


def test_who_leaves_while_a_connection_is_made_leaves_no_exception_behind(postgresql: PostgreSQL) -> None:
    async def run(url: str) -> list[str]:
        loop, told = asyncio.get_running_loop(), list[str]()
        loop.set_exception_handler(lambda _, about: told.append(f"{about.get('message')}: {about.get('exception')!r}"))
        for steps in range(STEPS_OF_A_CONNECTION):
            engine = make_engine(parse_store_url(url), who="one", deadline_s=DEADLINE_S)
            asking = asyncio.ensure_future(engine.run(lambda _: None))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait((asking,))
            await engine.close()
            del asking
            gc.collect()
        return told

    assert asyncio.run(run(postgresql.url())) == []


def test_a_server_is_reached_by_its_socket(postgresql: PostgreSQL) -> None:
    async def run(database: str) -> None:
        asker = Asker(f"postgresql://cortex@/{database}?host={postgresql.folder}&port={postgresql.port}")
        assert (await asker.ask()).is_mine
        await asker.database.close()

    asyncio.run(run(postgresql.new_database().rpartition("/")[2]))


def test_tls_that_was_asked_for_is_not_done_without(postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        plain, secret = Asker(f"{url}?sslmode=disable"), Asker(f"{url}?sslmode=require")
        assert (await plain.ask()).is_mine
        with pytest.raises(StoreUnavailable, match="SSL"):
            await secret.ask()
        await plain.database.close()
        await secret.database.close()

    asyncio.run(run(postgresql.new_database()))
