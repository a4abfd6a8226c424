"""The single writer of the fleet's state: takes events in one at a time, and carries out what the dispatcher says.

Grants and refusals are delivered on the spot, so a request for a loaded model is sent without an await between. Loads
and questions go to the executor and come back as events. An event posted while another is handled waits for its turn:
a waiter may acquire or release from within its own call.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from cortex.contract.error import CortexError, ShuttingDown
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.effect import Effect, Grant, Refuse, Slow, StartLoad, Target
from cortex.fleet.event import Event, RequestAnswered, RequestArrived, RequestFinished, TargetSuspected, Ticked
from cortex.fleet.outlook import Outlook
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.report import Post
from cortex.gateway.ports import LoadAllowance, Suspicion, Waiter
from cortex.kit.cause import NOTHING, Cause, working_for
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

TICK_S = 0.25
QUIET_TICK_S = 1.0
"""While nobody waits."""

log = logging.getLogger(__name__)


class EffectRunner(Protocol):
    """Does what takes time, and posts what came of it."""

    def carry_out(self, effect: Slow, post: Post) -> None:
        """Start the work and return."""


class ControlLoop:
    """Implements ``ports.Leases`` over a dispatcher. All calls come from one event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        runner: EffectRunner,
        clock: Clock,
        tasks: TaskOwner,
        *,
        tick_s: float = TICK_S,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._dispatcher = dispatcher
        self._handle = dispatcher.handle
        self._runner = runner
        self._now_s = clock.now_s
        self._tasks = tasks
        self._tick_s = tick_s
        self._sleep = sleep
        self._waiters: dict[int, Waiter] = {}
        self._allowances: dict[int, LoadAllowance] = {}
        """Of requests that wait, where it is counted what loads they cause."""
        self._next_ticket = 1
        self._mail: deque[Event] = deque()
        self._is_busy = False
        self._is_closed = False
        self._ticker: asyncio.Task[None] | None = None

    async def keep_time(self) -> None:
        """Let time move on for whoever rests and for the steward, though nobody waits; until cancelled."""
        while True:
            await self._sleep(QUIET_TICK_S)
            if self._ticker is None:
                self.post(Ticked())

    def acquire(
        self,
        name: str,
        waiter: Waiter,
        *,
        avoid: tuple[Target, ...] = (),
        caller: str = "",
        tokens: int = 0,
        head: bytes = b"",
        patience_s: float | None = None,
        priority: int = 0,
        no_load_s: float | None = None,
        allowance: LoadAllowance | None = None,
    ) -> int:
        """See ``ports.Leases``."""
        ticket = self._next_ticket
        self._next_ticket = ticket + 1
        if self._is_closed:
            waiter.refused(ShuttingDown(), "", "")
            return ticket
        self._waiters[ticket] = waiter
        if allowance is not None:
            self._allowances[ticket] = allowance
        self.post(RequestArrived(ticket, name, avoid, caller, tokens, head, patience_s, priority, no_load_s))
        return ticket

    def knows(self, name: str) -> bool:
        """See ``ports.Leases``."""
        return bool(self._dispatcher.canonical_id(name))

    def names_of(self, name: str) -> tuple[str, ...]:
        """See ``ports.Leases``."""
        return self._dispatcher.names_of(name)

    def release(self, ticket: int, *, is_cancelled: bool = False) -> None:
        """See ``ports.Leases``."""
        self._waiter_of(ticket)
        self.post(RequestFinished(ticket, is_cancelled))

    def vouch(self, ticket: int) -> None:
        """See ``ports.Leases``."""
        self.post(RequestAnswered(ticket))

    def outlook(self, ticket: int) -> Outlook | None:
        """See ``ports.Leases``."""
        return self._dispatcher.outlook(ticket, self._now_s())

    def suspect(self, target: Target, why: Suspicion) -> None:
        """See ``ports.Leases``."""
        log.info("%s on %s is suspected: %s", target.model, target.node, why)
        self.post(TargetSuspected(target, why))

    def post(self, event: Event) -> None:
        """Take an event in; handled at once unless one is being handled."""
        if self._is_busy:
            self._mail.append(event)
            return
        self._is_busy = True
        mail = self._mail
        try:
            self._take(event)
            while mail:
                self._take(mail.popleft())
        finally:
            self._is_busy = False
        if self._ticker is None and self._dispatcher.waiting():
            self._start_ticking()

    def _take(self, event: Event) -> None:
        try:
            effects = self._handle(event, self._now_s())
            for effect in effects:
                self._carry_out(effect)
        except Exception as exc:  # a defect of ours: one event is lost, the fleet goes on
            log.exception("taking in %s", type(event).__name__)
            waiter = self._waiter_of(event.ticket) if isinstance(event, RequestArrived) else None
            if waiter is not None and isinstance(event, RequestArrived):
                self._mail.append(RequestFinished(event.ticket))
                _deliver(waiter.refused, CortexError(f"internal error: {exc!r}"), "", "")

    def close(self) -> None:
        """Refuse everybody who waits, and everybody who comes after."""
        self._is_closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        for ticket, waiter in list(self._waiters.items()):
            if self._waiter_of(ticket) is not None:
                self.post(RequestFinished(ticket))
                _deliver(waiter.refused, ShuttingDown(), "", "")

    def _waiter_of(self, ticket: int) -> Waiter | None:
        """Return who waits, and waits no more."""
        if self._allowances:
            self._allowances.pop(ticket, None)
        return self._waiters.pop(ticket, None) if self._waiters else None

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Grant):
            waiter = self._waiter_of(effect.ticket)
            if waiter is None:
                return  # gone: its release is in the mail, and ends the grant that it never saw
            try:
                waiter.granted(effect)
            except Exception:
                log.exception("a waiter failed")
                self._mail.append(RequestFinished(effect.ticket))
                _deliver(waiter.refused, CortexError(), effect.target.model, effect.target.node)
        elif isinstance(effect, Refuse):
            waiter = self._waiter_of(effect.ticket)
            if waiter is not None:
                _deliver(waiter.refused, effect.error, effect.model, effect.node)
        elif not self._is_closed:
            allowance = self._allowances.get(effect.ticket) if isinstance(effect, StartLoad) else None
            if allowance is not None:
                allowance.loading()
            with working_for(self._cause(effect)):
                self._runner.carry_out(effect, self.post)

    def _cause(self, effect: Slow) -> Cause:
        """Return what is done for; whatever else the task at hand is for, its events cause no work of that kind."""
        waiter = self._waiters.get(effect.ticket) if isinstance(effect, StartLoad) else None
        return NOTHING if waiter is None else waiter.cause()

    def _start_ticking(self) -> None:
        if not self._is_closed:
            self._ticker = self._tasks.start(self._tick(), "control tick")

    async def _tick(self) -> None:
        try:
            while self._dispatcher.waiting():
                await self._sleep(self._tick_s)
                self.post(Ticked())
        finally:
            self._ticker = None


def _deliver(call: Callable[..., None], *arguments: object) -> None:
    """Call a waiter; its failure is its own and must not stop the fleet."""
    try:
        call(*arguments)
    except Exception:
        log.exception("a waiter failed")
