"""The usage ledger of a gateway, put together: written and read in its store. Imports its libraries only then.

The ledger has a connection of its own, so that it makes nobody wait, and so have reports, which take long.
"""

import asyncio
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from cortex.gateway.data.ledger import Ledger
from cortex.gateway.settings import StoreSection
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    from cortex.gateway.data.record import Recorder
    from cortex.gateway.ports import Usage

REPORT_DEADLINE_S = 25.0
"""Less than the 30 s that the commands wait for an answer."""
GRACE_S = 2.0
"""How long a stop waits for what is not written yet."""


class GatewayUsage:
    """``recorders`` for the data plane, ``reports`` for operators; none and None without a store."""

    def __init__(self, section: StoreSection, clock: Clock, tasks: TaskOwner, gateway_id: str) -> None:
        self.recorders: tuple[Recorder, ...] = ()
        self.reports: Usage | None = None
        self._tasks = tasks
        self._ledger: Ledger | None = None
        self._writer = writer = open_store(section, clock, f"cortex {gateway_id} usage", is_second=True)
        self._reader = reader = open_store(
            section, clock, f"cortex {gateway_id} reports", REPORT_DEADLINE_S, is_second=True
        )
        if writer is None or reader is None:
            return
        from cortex.gateway.store.claim import StoredClaims
        from cortex.gateway.store.usage import StoredUsage
        from cortex.gateway.store.usage_retention import UsageRetention

        start_id = secrets.token_hex(8)
        self.reports = StoredUsage(reader)
        self._ledger = Ledger(
            asyncio.get_running_loop(), StoredUsage(writer), tasks, start_id=start_id, epoch_s=clock.epoch_s
        )
        self.recorders = (self._ledger,)
        claims = StoredClaims(writer, f"{gateway_id}/{start_id}")
        self._retention = UsageRetention(writer, claims, section.usage_retention_days)

    def start(self) -> None:
        """Keep no more than is to be kept."""
        if self._ledger is not None:
            self._tasks.start(self._retention.run(), "prune usage")

    def collect(self) -> Iterator[Metric]:
        """Yield the ledger's metrics."""
        if self._ledger is not None:
            yield from self._ledger.collect()

    async def finish(self) -> None:
        """Write what is not written yet, as long as there is time; nothing is recorded any more."""
        if self._ledger is not None:
            await self._ledger.finish(GRACE_S)

    async def close(self) -> None:
        """Let go of the store, after the tasks have ended."""
        for database in (self._writer, self._reader):
            if database is not None:
                await database.close()
