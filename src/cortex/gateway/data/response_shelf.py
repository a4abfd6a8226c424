"""Keeps responses where no store is configured, and writes them to a shelf without anybody having to wait.

``MemoryShelf`` forgets what was not used for longest, and what is too old. ``ResponseKeeper`` stands before any shelf:
what it was given can be had from it at once, though it may take the shelf a while.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from cortex.contract.error import StoreUnavailable
from cortex.dialects.interface import Keep
from cortex.gateway.ports import ResponseShelf, ShelfLimit
from cortex.kit.task import TaskOwner

MEMORY_LIMIT = ShelfLimit(max_count=5_000, max_bytes=64 << 20, max_age_s=86400.0)
"""Where no store is configured; a gateway is to stay small."""

MAX_PENDING_BYTES = 64 << 20
"""What may wait for a shelf that takes its time; beyond that, what has waited longest is lost."""

SHARED_PATIENCE_S = (0.1, 0.2, 0.4)
"""Two gateways with one store: a record is there some 100 ms after its answer, up to 200 (measured 2026-11)."""

log = logging.getLogger(__name__)


class MemoryShelf:
    """A shelf of this process, empty at its start. Implements ``ports.ResponseShelf``."""

    def __init__(self, limit: ShelfLimit, now_s: Callable[[], float]) -> None:
        self._limit = limit
        self._now_s = now_s
        self._records: OrderedDict[str, bytes] = OrderedDict()
        """The one used last is last."""
        self._kept_s: OrderedDict[str, float] = OrderedDict()
        """When each was put, the newest last."""
        self.bytes = 0

    async def put(self, kept: Keep) -> None:
        """See ``ports.ResponseShelf``."""
        self._forget(kept.id)
        if len(kept.record) > self._limit.max_bytes:
            return
        self._records[kept.id] = kept.record
        self._kept_s[kept.id] = self._now_s()
        self.bytes += len(kept.record)
        self._sweep()

    async def get(self, response_id: str) -> bytes | None:
        """See ``ports.ResponseShelf``."""
        self._sweep()
        if response_id in self._records:
            self._records.move_to_end(response_id)
        return self._records.get(response_id)

    async def age_s(self, response_id: str) -> float | None:
        """See ``ports.ResponseShelf``."""
        kept_s = self._kept_s.get(response_id)
        return None if kept_s is None else self._now_s() - kept_s

    async def delete(self, response_id: str) -> bool:
        """See ``ports.ResponseShelf``."""
        self._sweep()
        return self._forget(response_id)

    def _sweep(self) -> None:
        oldest_s = self._now_s() - self._limit.max_age_s
        while self._kept_s and next(iter(self._kept_s.values())) < oldest_s:
            self._forget(next(iter(self._kept_s)))
        while len(self._records) > self._limit.max_count or self.bytes > self._limit.max_bytes:
            self._forget(next(iter(self._records)))

    def _forget(self, response_id: str) -> bool:
        record = self._records.pop(response_id, None)
        self._kept_s.pop(response_id, None)
        self.bytes -= len(record or b"")
        return record is not None


class ResponseKeeper:
    """Writes to a shelf one record after the other. Implements ``ports.ResponseShelf``, too."""

    def __init__(self, shelf: ResponseShelf, tasks: TaskOwner, *, patience_s: tuple[float, ...] = ()) -> None:
        """``patience_s``: how long to wait before each new look for a record that is not there."""
        self._shelf = shelf
        self._patience_s = patience_s
        self._tasks = tasks
        self.is_shared = bool(patience_s)
        """Other gateways use the same shelf."""
        self._pending: dict[str, Keep] = {}
        self._pending_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """Held while the shelf is written to, so that what was asked for last is done last."""

    def keep(self, kept: Keep) -> None:
        """Keep a record, sooner or later. A shelf that cannot be asked loses it, which the log says."""
        self._drop(kept.id)
        self._pending[kept.id] = kept
        self._pending_bytes += len(kept.record)
        while self._pending_bytes > MAX_PENDING_BYTES and len(self._pending) > 1:
            lost = next(iter(self._pending))
            log.warning("response %s is not kept: the store is too slow", lost)
            self._drop(lost)
        if self._writing is None:
            self._writing = self._tasks.start(self._write(), "keep responses")

    async def put(self, kept: Keep) -> None:
        """See ``ports.ResponseShelf``."""
        self.keep(kept)

    async def get(self, response_id: str) -> bytes | None:
        """See ``ports.ResponseShelf``. What is not there may be on its way from another gateway: it is waited for."""
        for patience_s in (*self._patience_s, None):
            pending = self._pending.get(response_id)
            found = pending.record if pending is not None else await self._shelf.get(response_id)
            if found is not None or patience_s is None:
                return found
            await asyncio.sleep(patience_s)
        raise AssertionError

    async def age_s(self, response_id: str) -> float | None:
        """See ``ports.ResponseShelf``."""
        return 0.0 if response_id in self._pending else await self._shelf.age_s(response_id)

    async def delete(self, response_id: str) -> bool:
        """See ``ports.ResponseShelf``."""
        was_pending = self._drop(response_id)
        async with self._turn:
            return await self._shelf.delete(response_id) or was_pending

    async def flush(self, grace_s: float) -> None:
        """Wait until everything is on the shelf, no longer than ``grace_s``."""
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=grace_s)

    async def _write(self) -> None:
        try:
            while self._pending:
                async with self._turn:
                    if self._pending:
                        await self._write_one(next(iter(self._pending.values())))
        finally:
            self._writing = None

    async def _write_one(self, kept: Keep) -> None:
        try:
            await self._shelf.put(kept)
        except StoreUnavailable as error:
            log.warning("response %s is not kept: %s", kept.id, error.message)
        if self._pending.get(kept.id) is kept:
            self._drop(kept.id)

    def _drop(self, response_id: str) -> bool:
        dropped = self._pending.pop(response_id, None)
        self._pending_bytes -= len(dropped.record) if dropped is not None else 0
        return dropped is not None
