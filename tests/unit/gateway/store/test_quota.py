"""The book of a key's limits in the store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key, KeyLimits
from cortex.fleet.quota import MeterReport, QuotaReport
from cortex.gateway.store.database import Database
from cortex.gateway.store.quota import StoredQuota
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock

KEY = Key(id="key_1", name="alice", shown="ctx", limits=KeyLimits(tokens_per_month=1000, concurrent_requests=3))


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[StoredQuota, Database]]:
    database = Database(parse_store_url(f"sqlite:///{folder}/store.db"), VirtualClock())
    try:
        yield StoredQuota(database), database
    finally:
        await database.close()


def report(number: int, window: int | None = None, *, spent: int = 0, need: int = 0) -> QuotaReport:
    said = MeterReport(limit=1000, window=window, spent=spent, reserved=0, kept=0, need=need, least=need)
    return QuotaReport(key_id=KEY.id, holder="a", number=number, since=1, meters={"tokens_per_month": said})


def test_what_was_said_is_there_for_the_next_and_for_operators(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (quota, _):
            first = await quota.settle(report(1, need=400))
            assert first is not None
            said = first.meters["tokens_per_month"]
            assert (said.free, said.remaining) == (400, 600)
            await quota.settle(report(2, said.window, spent=300))
            month, places = (await quota.use_of(KEY)).limits
            assert (month.limit, month.bound, month.used, month.held) == ("tokens_per_month", 1000, 300, 0)
            assert month.resets_in_s is not None
            assert 0 < month.resets_in_s <= 31 * 86400
            assert (places.limit, places.held, places.resets_in_s) == ("concurrent_requests", 0, None)

    asyncio.run(run())


def test_of_a_key_that_nobody_has_used_nothing_is_used(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (quota, _):
            assert [limit.used for limit in (await quota.use_of(KEY)).limits] == [0, 0]

    asyncio.run(run())


def test_a_book_that_only_another_version_understands_is_not_begun_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (quota, database):
            await quota.settle(report(1, need=400))
            strange = text("""UPDATE quota SET book = '{"holders": 5}'""")
            await database.run(lambda connection: connection.execute(strange))
            for asking in (quota.settle(report(2)), quota.use_of(KEY)):
                with pytest.raises(StoreUnavailable, match="of another version"):
                    await asking
            assert database.is_up

    asyncio.run(run())
