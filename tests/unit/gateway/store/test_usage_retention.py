"""The task that drops old usage goes on whatever the store does, and says what it has done."""

import asyncio
import logging
from pathlib import Path

import pytest
from tests.integration.store.ledger import an_entry, with_database

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import UsageSpan
from cortex.gateway.store import usage_retention
from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import Database
from cortex.gateway.store.usage import StoredUsage
from cortex.gateway.store.usage_retention import UsageRetention
from cortex.kit.task import TaskOwner

ALL = UsageSpan(since_s=0.0, until_s=1e10)


class Looks:
    """Counts the sleeps between two looks, and ends the third one never."""

    def __init__(self) -> None:
        self.count = 0
        self.enough = asyncio.Event()

    async def sleep(self, _: float) -> None:
        self.count += 1
        if self.count == 3:
            self.enough.set()
            await asyncio.Event().wait()


def test_it_goes_on_without_the_store_and_drops_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(database: Database) -> None:
        usage, looks, tasks = StoredUsage(database), Looks(), TaskOwner()
        monkeypatch.setattr(usage_retention.asyncio, "sleep", looks.sleep)
        await usage.write([an_entry(1, 5.0), an_entry(2, 6.0)])
        retention = UsageRetention(database, StoredClaims(database, "one"), 1)
        prune, moods = retention.prune, iter([StoreUnavailable("gone"), None, None])

        async def moody() -> int:
            if (error := next(moods)) is not None:
                raise error
            return await prune()

        monkeypatch.setattr(retention, "prune", moody)
        tasks.start(retention.run(), "prune")
        await looks.enough.wait()
        await tasks.stop()
        assert await usage.requests(ALL, None, 10) == ()

    with caplog.at_level(logging.INFO, usage_retention.__name__):
        with_database(f"sqlite:///{tmp_path}/store.db", check)
    said = [record.getMessage() for record in caplog.records if record.name == usage_retention.__name__]
    assert said == ["2 requests were dropped from the usage ledger, being too old"]


def test_a_gateway_that_has_lost_its_claim_leaves_the_rest_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_retention, "BATCH", 2)

    async def check(database: Database) -> None:
        usage, claims = StoredUsage(database), StoredClaims(database, "one")
        await usage.write([an_entry(number, 5.0) for number in range(5)])
        retention = UsageRetention(database, claims, 1, pause_s=0)

        async def too_late(*_: object) -> bool:
            return False

        with monkeypatch.context() as patch:
            patch.setattr(claims, "renew", too_late)
            assert await retention.prune() == 2
        assert await retention.prune() == 3

    with_database(f"sqlite:///{tmp_path}/store.db", check)
