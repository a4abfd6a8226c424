"""The usage ledger as a gateway has it: nothing without a store, everything with one, and let go of in the end."""

import asyncio
import logging
from pathlib import Path

import pytest
from tests.unit.gateway.data.test_metric import a_record

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import UsageSpan
from cortex.gateway.settings import StoreSection
from cortex.gateway.usage_opening import GatewayUsage
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner

ALL = UsageSpan(since_s=0.0, until_s=1e10)


def test_without_a_store_nothing_is_recorded_and_nothing_can_be_asked() -> None:
    async def run() -> None:
        tasks = TaskOwner()
        usage = GatewayUsage(StoreSection(), SystemClock(), tasks, "g")
        usage.start()
        assert (usage.recorders, usage.reports, list(usage.collect()), len(tasks)) == ((), None, [], 0)
        await usage.finish()
        await usage.close()

    asyncio.run(run())


def test_that_the_store_is_gone_is_left_to_others_to_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        tasks = TaskOwner()
        usage = GatewayUsage(StoreSection(url=f"sqlite:///{tmp_path}"), SystemClock(), tasks, "g")
        usage.start()
        (recorder,) = usage.recorders
        recorder.record(a_record())
        assert usage.reports is not None
        with pytest.raises(StoreUnavailable):
            await usage.reports.requests(ALL, None, 10)
        await usage.finish()
        await tasks.stop()
        await usage.close()

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "1 requests are missing in the usage ledger: the store could not take them"
    ]


def test_what_is_recorded_can_be_asked_for_once_it_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        tasks, clock = TaskOwner(), SystemClock()
        usage = GatewayUsage(StoreSection(url=f"sqlite:///{tmp_path}/store.db"), clock, tasks, "g")
        usage.start()
        (recorder,) = usage.recorders
        recorder.record(a_record(started_s=clock.epoch_s(), key="alice"))
        assert [family.name for family in usage.collect()] == [
            "cortex_ledger_lost",
            "cortex_ledger_pending",
            "cortex_ledger_lag_seconds",
        ]
        await usage.finish()
        assert usage.reports is not None
        assert [found.key for found in await usage.reports.requests(ALL, None, 10)] == ["alice"]
        await tasks.stop()
        await usage.close()

    asyncio.run(run())
