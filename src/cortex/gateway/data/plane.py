"""What all requests of one gateway share: limits, leases, the upstream client, recorders, what is remembered of
failures, and the sweep that keeps time for all of them (no timer per request). Holds the set of running calls; decides
nothing about any of them."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from cortex.contract.activity import RunningRequest
from cortex.dialects.interface import Keep, Mint
from cortex.fleet.poison import PoisonList
from cortex.fleet.retry_budget import RetryBudget
from cortex.gateway.data.body_room import BodyRoom
from cortex.gateway.data.demand import Callers
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.preparation import Fetcher
from cortex.gateway.data.record import Recorder, RequestRecord
from cortex.gateway.data.upstream import Upstream
from cortex.gateway.ports import Leases
from cortex.kit.task import TaskOwner
from cortex.kit.tracer import Tracer

if TYPE_CHECKING:
    from cortex.gateway.data.limiter import Limiter

MAX_DROPPED = 256
"""So many different lines about what is left out of requests are written."""

log = logging.getLogger(__name__)


class CallLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What one inference request may take. There is no limit on its total time."""

    max_body_bytes: int = 64 << 20
    max_buffered_bytes: int = 1 << 30
    """Of all requests together; what is made of a body besides, for an engine, is not counted."""
    first_token_timeout_s: float = 600.0
    """From sending the request to the engine; loading does not count."""
    stall_timeout_s: float = 300.0
    """Between two events of a stream; comments do not count."""
    heartbeat_after_s: float = 10.0
    heartbeat_every_s: float = 10.0
    unstreamed_wait_s: float = 300.0
    """How long an unstreamed request waits for a place."""
    sweep_s: float = 0.5


def overdue(limit: CallLimit, now_s: float, *, sent_s: float, last_s: float | None) -> str | None:
    """Return in words that an engine is silent for too long, None when it is not.

    ``last_s``: its last sign of life within the answer, None before the first content.
    """
    if last_s is not None and now_s - last_s > limit.stall_timeout_s:
        return f"The engine sent no content for {limit.stall_timeout_s:g} s in the middle of its answer."
    if last_s is None and now_s - sent_s > limit.first_token_timeout_s:
        return f"The engine sent no first token within {limit.first_token_timeout_s:g} s."
    return None


class Sweepable(Protocol):
    """A running call that watches its own deadlines."""

    def sweep(self, now_s: float) -> None:
        """Look at the clock."""

    def shut(self) -> None:
        """The gateway stops now."""

    def look(self) -> tuple[RunningRequest, int | None]:
        """Return what it is at, and the ticket of the place that it has or waits for."""


class Plane:
    """Shared by all calls."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: CallLimit,
        leases: Leases,
        upstream: Upstream,
        recorders: tuple[Recorder, ...],
        *,
        id_prefix: bytes,
        epoch_s: Callable[[], float],
        tasks: TaskOwner,
        fetcher: Fetcher,
        keep: Callable[[Keep], None],
        tracer: Tracer | None = None,
    ) -> None:
        """``fetcher`` gets what requests need before they can be sent; ``keep`` takes what is kept of them after;
        ``tracer`` their spans, where those are wished."""
        self.now_s = upstream.now_s
        self.limit = limit
        self.bodies = BodyRoom(limit.max_buffered_bytes)
        self.leases = leases
        self.upstream = upstream
        self.running: set[Sweepable] = set()
        self.retries = RetryBudget()
        self.poison = PoisonList()
        self.callers = Callers()
        self._dropped: set[tuple[str, tuple[str, ...]]] = set()
        self.tasks = tasks
        self.fetcher = fetcher
        self.keep = keep
        self.limiter: Limiter | None = None
        """Holds keys to their limits, where they are counted."""
        self.tracer = tracer
        self.note_prompt: Callable[[float, str, bytes], None] | None = None
        """Takes what requests say to their models, with when it was said and by which, where it is to be logged."""
        self._recorders = recorders
        self._loop = loop
        self._id_prefix = id_prefix
        self._id_count = 0
        self._epoch_s = epoch_s
        self._sweep: asyncio.TimerHandle | None = None
        self._upstream_swept_s = self.swept_s = self.now_s()

    def start(self) -> None:
        """Begin to keep time."""
        self._sweep = self._loop.call_later(self.limit.sweep_s, self._sweep_all)

    def stop(self) -> None:
        """End every running call, close idle upstream connections, stop keeping time."""
        for call in list(self.running):
            call.shut()
        if self._sweep is not None:
            self._sweep.cancel()
        self.upstream.close()

    def begin(self, call: Sweepable, request_id: bytes, outgoing: Outgoing) -> None:
        """A call begins to run."""
        self.running.add(call)
        if self.note_prompt is not None:
            self.note_prompt(self._epoch_s(), request_id.decode("ascii"), outgoing.said())

    def new_request_id(self) -> bytes:
        """An id unique to this process and, by its prefix, in the fleet."""
        self._id_count += 1
        return b"%b-%x" % (self._id_prefix, self._id_count)

    def mint(self) -> Mint:
        """Return what a translation cannot make itself."""
        began_s = self.now_s()
        return Mint(epoch_s=self._epoch_s(), new_id=_new_id, elapsed_s=lambda: self.now_s() - began_s)

    def known(self, names: tuple[str, ...]) -> str:
        """Return the first of several names that a model is known by; the first of all when it is known by none."""
        if len(names) > 1:
            return next((name for name in names if self.leases.knows(name)), names[0])
        return names[0]

    def note_dropped(self, model: str, dropped: tuple[str, ...]) -> None:
        """Tell, once, that requests for a model ask for what nobody here can do."""
        if (model, dropped) not in self._dropped and len(self._dropped) < MAX_DROPPED:
            self._dropped.add((model, dropped))
            log.info("left out of requests for %s, because nothing here does that: %s", model, ", ".join(dropped))

    def epoch_s(self, then_s: float, now_s: float | None = None) -> float:
        """UTC epoch seconds of a moment of ``now_s``, which is asked for the time unless that is known."""
        return self._epoch_s() - ((self.now_s() if now_s is None else now_s) - then_s)

    def record(self, record: RequestRecord) -> None:
        """Hand a finished request to everybody who counts."""
        for recorder in self._recorders:
            recorder.record(record)

    def _sweep_all(self) -> None:
        self._sweep = self._loop.call_later(self.limit.sweep_s, self._sweep_all)
        now_s = self.now_s()
        for call in list(self.running):
            try:
                call.sweep(now_s)
            except Exception:  # a defect in one call must not stop time for the others
                log.exception("a call failed in the sweep")
        if now_s - self._upstream_swept_s > 5:
            self._upstream_swept_s = now_s
            self.upstream.sweep(now_s)
        self.swept_s = now_s


def _new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)
