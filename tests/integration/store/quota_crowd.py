"""Limiters of several gateways on one store, each with a connection of its own, and keys for them."""

import asyncio

from cortex.contract.error import CortexError
from cortex.contract.key import Key, KeyLimits, KeyUse
from cortex.fleet.quota_holding import Admission, Asked
from cortex.gateway.data.limiter import Limiter
from cortex.gateway.store.database import Database
from cortex.gateway.store.quota import StoredQuota
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner

SMALL = Asked(0, 10)
DEADLINE_S = 30.0
"""For the store: a crowded machine is no dead one."""


def a_key(name: str, **limits: int) -> Key:
    return Key(id=f"key_{name}", name=name, shown="ctx", limits=KeyLimits(**limits))


KEY_OF_PLACES = a_key("places", concurrent_requests=5)


class QuotaGateway:
    """The limits of one gateway."""

    def __init__(self, url: str, holder: str) -> None:
        self._database = Database(parse_store_url(url), SystemClock(), who=holder, deadline_s=DEADLINE_S)
        self.quota = StoredQuota(self._database)
        self.tasks = TaskOwner()
        self.limiter = Limiter(
            asyncio.get_running_loop(),
            self.quota,
            self.tasks,
            now_s=SystemClock().now_s,
            epoch_s=SystemClock().epoch_s,
            holder=holder,
            fails_closed=True,
        )

    async def enter(self, key: Key, asked: Asked) -> Admission | CortexError:
        """Let a request in or not, after the store was asked where that takes it."""
        outcome = self.limiter.enter(key, asked)
        if outcome is not None:
            return outcome
        came: asyncio.Future[Admission | CortexError] = asyncio.get_running_loop().create_future()
        self.limiter.wait(key, asked, came.set_result)
        return await came

    async def use_of(self, key: Key) -> KeyUse:
        return await self.quota.use_of(key)

    async def close(self) -> None:
        await self.limiter.finish(DEADLINE_S)
        assert self.limiter.in_use() == 0
        await self.tasks.stop()
        await self._database.close()
