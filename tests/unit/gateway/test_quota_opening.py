"""The limits of keys as a gateway has them: nothing without a store, everything with one, and let go of in the end."""

import asyncio
from pathlib import Path

from cortex.contract.key import Key, KeyLimits
from cortex.fleet.quota_holding import Admission, Asked
from cortex.gateway.quota_opening import GatewayQuota
from cortex.gateway.settings import GatewaySettings, StoreSection
from cortex.gateway.store.quota import StoredQuota
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner

KEY = Key(id="key_1", name="alice", shown="ctx", limits=KeyLimits(requests_per_min=600))


def test_without_a_store_nothing_is_counted() -> None:
    async def run() -> None:
        tasks = TaskOwner()
        quota = GatewayQuota(GatewaySettings(), SystemClock(), tasks, "g")
        assert (quota.limiter, quota.in_use(), list(quota.collect()), len(tasks)) == (None, 0, [], 0)
        await quota.finish()
        await quota.close()

    asyncio.run(run())


def test_what_is_held_is_given_back_at_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        settings = GatewaySettings(store=StoreSection(url=f"sqlite:///{tmp_path}/store.db"))
        tasks = TaskOwner()
        quota = GatewayQuota(settings, SystemClock(), tasks, "g")
        assert quota.limiter is not None
        came: asyncio.Queue[object] = asyncio.Queue()
        assert quota.limiter.enter(KEY, Asked(1, 1)) is None
        quota.limiter.wait(KEY, Asked(1, 1), came.put_nowait)
        admission = await came.get()
        assert isinstance(admission, Admission)
        assert quota.in_use() == 1
        admission.settle(None)
        while len(tasks):  # noqa: ASYNC110 - what is asked for ahead
            await asyncio.sleep(0)
        await quota.finish()
        store = open_store(settings.store, SystemClock(), "another")
        assert store is not None
        (requests,) = (await StoredQuota(store).use_of(KEY)).limits
        await store.close()
        assert requests.held == 0
        assert {family.name for family in quota.collect()} == {
            "cortex_quota_denied",
            "cortex_quota_unchecked",
            "cortex_quota_reports",
        }
        await tasks.stop()
        await quota.close()

    asyncio.run(run())
