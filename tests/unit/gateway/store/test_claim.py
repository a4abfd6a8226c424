"""A claim has one holder at a time; its number grows with every new one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from cortex.gateway.ports import Claim
from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import Database
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock

TTL_S = 1000.0


class Store:
    """One database, and the claims of whoever."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of(self, holder: str) -> StoredClaims:
        return StoredClaims(self.database, holder)

    async def take(self, holder: str, target: str = "", ttl_s: float = TTL_S) -> Claim:
        return await self.of(holder).claim("steward", target, ttl_s)

    async def expire(self) -> None:
        past = text("UPDATE claim SET expires_at_s = expires_at_s - 2000")
        await self.database.run(lambda connection: connection.execute(past))


@contextlib.asynccontextmanager
async def store(folder: Path) -> AsyncIterator[Store]:
    database = Database(parse_store_url(f"sqlite:///{folder}/store.db"), VirtualClock())
    try:
        yield Store(database)
    finally:
        await database.close()


def with_store(folder: Path, test: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        async with store(folder) as it:
            await test(it)

    asyncio.run(run())


def test_the_first_has_it_and_the_second_learns_who_and_for_what(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first, second = await it.take("one", "beast"), await it.take("two", "benjy")
        assert (first.is_mine, first.holder, first.target) == (True, "one", "beast")
        assert (second.is_mine, second.holder, second.target, second.number) == (False, "one", "beast", first.number)
        assert TTL_S - 10 < second.expires_in_s <= TTL_S

    with_store(tmp_path, test)


def test_whoever_has_it_may_take_it_again_under_the_same_number(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first = await it.take("one", "beast")
        again = await it.take("one", "benjy")
        assert (again.is_mine, again.number, again.target) == (True, first.number, "benjy")

    with_store(tmp_path, test)


def test_one_that_has_expired_is_taken_over_with_a_larger_number(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first = await it.take("one")
        await it.expire()
        second = await it.take("two")
        assert second.is_mine
        assert second.number > first.number
        assert not await it.of("one").renew(first, TTL_S)
        await it.of("one").release(first)
        assert not (await it.take("three")).is_mine

    with_store(tmp_path, test)


def test_a_former_holder_that_takes_its_own_again_after_its_time_gets_another_number(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first = await it.take("one")
        await it.expire()
        assert not await it.of("one").renew(first, TTL_S)
        assert (await it.take("one")).number > first.number

    with_store(tmp_path, test)


def test_one_that_was_released_is_free_and_its_number_does_not_go_back(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first = await it.take("one")
        await it.of("one").release(first)
        second = await it.take("two")
        assert second.is_mine
        assert second.number > first.number

    with_store(tmp_path, test)


def test_one_that_is_renewed_lasts_from_then_on(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        first = await it.take("one", ttl_s=5)
        assert await it.of("one").renew(first, TTL_S)
        assert (await it.take("two")).expires_in_s > 5

    with_store(tmp_path, test)


def test_numbers_do_not_go_back_where_the_database_was_lost(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        old = await it.take("one")
        restored = text("UPDATE claim SET number = 3, expires_at_s = 0")
        await it.database.run(lambda connection: connection.execute(restored))
        assert (await it.take("two")).number >= old.number

    with_store(tmp_path, test)


def test_the_clock_of_a_gateway_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)

    async def test(it: Store) -> None:
        await it.take("one", ttl_s=60)
        assert not (await it.take("two")).is_mine

    with_store(tmp_path, test)


def test_claims_of_different_names_do_not_know_each_other(tmp_path: Path) -> None:
    async def test(it: Store) -> None:
        await it.take("one")
        assert (await it.of("two").claim("load:m", "beast", TTL_S)).is_mine

    with_store(tmp_path, test)
