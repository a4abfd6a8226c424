"""The usage ledger: what is known of finished requests goes to the store in batches, and no request waits for it.

A record joins a bounded queue and is made into an entry when its batch is written: when there are enough of them, or
after a second. While the store cannot be asked the queue fills; what finds it full is lost and counted, what is in it
is written later. At any moment ``written + pending + lost == seen``. Entries have ids of their own, so that one that
the store got without our hearing of it is not counted twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.contract.error import StoreUnavailable
from cortex.contract.usage import UsageEntry
from cortex.gateway.data.metric import gauge
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.ports import UsageLog
from cortex.kit.task import TaskOwner

FLUSH_S = 1.0
BATCH = 100
"""Entries written at once: some milliseconds of the event loop."""
MAX_PENDING = 20_000
"""About 20 MiB; at 100 requests per second three minutes without a store."""
MAX_TOKENS = 2**40
"""More is an engine's mistake, and sums must not overflow."""

log = logging.getLogger(__name__)


class Ledger:
    """Implements ``data.record.Recorder``. ``start_id``: no other start of any gateway has it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        usage: UsageLog,
        tasks: TaskOwner,
        *,
        start_id: str,
        epoch_s: Callable[[], float],
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._loop = loop
        self._usage = usage
        self._tasks = tasks
        self._start_id = start_id
        self._epoch_s = epoch_s
        self._max_pending = max_pending
        self._queue: deque[RequestRecord] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_down = False
        self._is_over = False
        self._told_lost = 0
        self.written = 0
        self.lost = 0

    @property
    def pending(self) -> int:
        """How many wait to be written, those included that are being written."""
        return len(self._queue)

    @property
    def seen(self) -> int:
        """How many requests there were."""
        return self.written + self.pending + self.lost

    def record(self, record: RequestRecord) -> None:
        """Note one request."""
        queue = self._queue
        if len(queue) >= self._max_pending or self._is_over:
            self.lost += 1
            return
        queue.append(record)
        if self._writing is not None or self._is_down:
            return
        if len(queue) >= BATCH:
            self._begin()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._begin)

    async def finish(self, grace_s: float) -> None:
        """Write what is pending, no longer than ``grace_s``. What is not written then, or comes later, is lost."""
        limit = self._loop.time() + grace_s
        self._is_down = False
        while self._queue and self._loop.time() < limit and not self._is_down:
            self._begin()
            if self._writing is not None:
                await asyncio.wait((self._writing,), timeout=limit - self._loop.time())
        self._is_over = True
        self._stop_timer()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait((self._writing,))
        self.lost += len(self._queue)
        self._queue.clear()
        self._tell_lost()

    def collect(self) -> Iterator[Metric]:
        """Yield the ledger's metrics."""
        about = "Requests that are missing in the usage ledger."
        lost = CounterMetricFamily("cortex_ledger_lost", about, labels=())
        lost.add_metric((), float(self.lost))
        yield lost
        yield gauge("cortex_ledger_pending", "Requests not written yet.", (), [((), float(self.pending))])
        yield gauge("cortex_ledger_lag_seconds", "Since the oldest of them was over.", (), [((), self._lag_s())])

    def _lag_s(self) -> float:
        if not self._queue:
            return 0.0
        oldest = self._queue[0]
        return max(0.0, self._epoch_s() - oldest.started_s - oldest.total_latency_ms * 1e-3)

    def _begin(self) -> None:
        self._stop_timer()
        if self._writing is None and self._queue and not self._is_over:
            self._writing = self._tasks.start(self._write(), "write usage")

    async def _write(self) -> None:
        """Write batches: the first as it is, then as long as there are whole ones."""
        self._is_down = True  # unless it turns out otherwise: no failure may be tried again with every request
        try:
            await self._write_batch()
            while len(self._queue) >= BATCH:
                await self._write_batch()
            self._is_down = False
        except StoreUnavailable as error:
            log.debug("%d requests wait for the usage ledger: %s", len(self._queue), error.message)
        finally:
            self._writing = None
            if self._queue and not self._is_over:
                self._timer = self._loop.call_later(FLUSH_S, self._begin)
        if not self._is_down:
            self._tell_lost()

    async def _write_batch(self) -> None:
        batch = list(islice(self._queue, BATCH))
        await self._usage.write([self._entry(self.written + place, record) for place, record in enumerate(batch)])
        for _ in batch:
            self._queue.popleft()
        self.written += len(batch)

    def _entry(self, number: int, record: RequestRecord) -> UsageEntry:
        first_ms = record.time_to_first_token_ms
        return UsageEntry(
            id=f"{self._start_id}-{number:010x}",
            request_id=_clean(record.request_id),
            started_epoch_s=record.started_s,
            key=record.key or origin_of(record.peer),
            model=_clean(record.model),
            node=_clean(record.node),
            operation=record.path,
            status=record.status,
            outcome=record.outcome,
            stream=record.is_stream,
            cold_start=record.cold_start,
            prompt_tokens=_tokens(record.prompt_tokens),
            completion_tokens=_tokens(record.completion_tokens),
            total_tokens=_total(record),
            first_token_s=None if first_ms is None else first_ms * 1e-3,
            duration_s=record.total_latency_ms * 1e-3,
            error=record.error,
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_lost(self) -> None:
        """Say once per outage, when it is over, what was lost in it."""
        lost, self._told_lost = self.lost - self._told_lost, self.lost
        if lost:
            log.warning("%d requests are missing in the usage ledger: the store could not take them", lost)


@lru_cache(maxsize=1024)
def origin_of(peer: str) -> str:
    """Return what stands for the key of a request without one: no key's name has parentheses."""
    if not peer:
        return "(local)"
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return "(unknown)"
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_loopback:
        return "(loopback)"
    return "(private)" if mapped.is_private else "(public)"


def _clean(text: str) -> str:
    """Return text that every database takes: one that it refuses would hold up all others for ever."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _tokens(count: int | None) -> int | None:
    return None if count is None else max(0, min(count, MAX_TOKENS))


def _total(record: RequestRecord) -> int | None:
    if record.total_tokens is not None or (record.prompt_tokens is None and record.completion_tokens is None):
        return _tokens(record.total_tokens)
    return (_tokens(record.prompt_tokens) or 0) + (_tokens(record.completion_tokens) or 0)
