"""The limits of a gateway's keys, put together: counted in its store. Imports the store's libraries only then.

They have a connection of their own, so that requests wait for nothing else that the store is asked.
"""

import asyncio
import secrets
from collections.abc import Iterator

from prometheus_client.core import Metric

from cortex.gateway.data.limiter import Limiter
from cortex.gateway.settings import GatewaySettings
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

DEADLINE_S = 2.0
"""For one answer of the store; requests may be waiting for it."""
GRACE_S = 2.0
"""How long a stop waits until what is held is given back."""


class GatewayQuota:
    """``limiter`` for the data plane; None without a store."""

    def __init__(self, settings: GatewaySettings, clock: Clock, tasks: TaskOwner, gateway_id: str) -> None:
        self.limiter: Limiter | None = None
        self._database = database = open_store(
            settings.store, clock, f"cortex {gateway_id} quota", DEADLINE_S, is_second=True
        )
        if database is None:
            return
        from cortex.gateway.store.quota import StoredQuota

        self.limiter = Limiter(
            asyncio.get_running_loop(),
            StoredQuota(database),
            tasks,
            now_s=clock.now_s,
            epoch_s=clock.epoch_s,
            holder=f"{gateway_id}/{secrets.token_hex(8)}",
            fails_closed=settings.gateway.keys_fail_closed,
        )

    def in_use(self) -> int:
        """Return how much is taken of limits and not settled."""
        return 0 if self.limiter is None else self.limiter.in_use()

    def collect(self) -> Iterator[Metric]:
        """Yield the limiter's metrics."""
        if self.limiter is not None:
            yield from self.limiter.collect()

    async def finish(self) -> None:
        """Give back what is held, as long as there is time."""
        if self.limiter is not None:
            await self.limiter.finish(GRACE_S)

    async def close(self) -> None:
        """Let go of the store, after the tasks have ended."""
        if self._database is not None:
            await self._database.close()
