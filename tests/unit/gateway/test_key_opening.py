"""The keys of a gateway with a store and without."""

import asyncio
from pathlib import Path

from cortex.contract.key import KeyWish
from cortex.gateway.key_opening import GatewayKeys
from cortex.gateway.settings import GatewaySettings, StoreSection
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner


def test_without_a_store_there_are_no_keys_and_nothing_is_watched() -> None:
    async def run() -> None:
        tasks = TaskOwner()
        made = GatewayKeys(GatewaySettings(), None, tasks, SystemClock())
        await made.start()
        assert (made.book, made.keys, len(tasks)) == (None, None, 0)

    asyncio.run(run())


def test_keys_are_known_when_the_start_is_over(tmp_path: Path) -> None:
    async def run() -> None:
        settings = GatewaySettings(store=StoreSection(url=f"sqlite:///{tmp_path}/s.db"))
        store, tasks = open_store(settings.store, SystemClock(), "g"), TaskOwner()
        assert store is not None
        first = GatewayKeys(settings, store, tasks, SystemClock())
        assert first.keys is not None
        made = await first.keys.create(KeyWish(name="alice"))
        again = GatewayKeys(settings, store, tasks, SystemClock())
        await again.start()
        assert again.book is not None
        assert again.book.find(made.secret.encode()) == made.key
        await tasks.stop()
        await store.close()

    asyncio.run(run())
