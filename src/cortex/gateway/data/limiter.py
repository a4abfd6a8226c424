"""Holds keys to their limits on this gateway: by slices that it holds, so that requests wait for no store as a rule.

Where a request finds too little held it waits until the store has answered, for ``WAIT_S`` at most; everybody else goes
on. Where the store has no more, but other gateways hold what they may give back, it waits for that for ``HOPE_S``; no
more requests do than could be let in by it. While the store is silent what is held is used up; then keys are refused
where ``fails_closed``, or else held to their whole limits by this gateway alone: the store is told of that use when it
is back.
``fleet.quota_holding`` decides what is let in and when the store is told; here it is told, and who waits is woken.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.contract.error import CortexError, StoreUnavailable
from cortex.contract.key import Key
from cortex.fleet.quota import CONCURRENT
from cortex.fleet.quota_holding import Admission, Asked, Denial, Holding, Standing
from cortex.gateway.data.limit_word import denied, too_large
from cortex.gateway.ports import Quota
from cortex.kit.task import TaskOwner

WAIT_S = 5.0
"""Of one request for the store, which has ``DEADLINE_S`` for each of its answers."""
HOPE_S = 2.0
"""Of one request for what other gateways may give back: they hear of it within a second."""
HOPE_AGAIN_S = 0.2
SWEEP_S = 0.5
PROBE_S = 1.0
"""Between two attempts at a silent store."""

log = logging.getLogger(__name__)

Resume = Callable[[Admission | CortexError], None]


class Waiting:
    """A request that waits for the store's answer about its key. ``hopes_until_s``: for a better one."""

    __slots__ = ("asked", "hopes_until_s", "is_over", "key", "resume", "until_s")

    def __init__(self, key: Key, asked: Asked, resume: Resume, now_s: float) -> None:
        self.key = key
        self.asked = asked
        self.resume = resume
        self.until_s = now_s + WAIT_S
        self.hopes_until_s = now_s + HOPE_S
        self.is_over = False

    def cancel(self) -> None:
        """It waits no longer."""
        self.is_over = True
        self.resume = _nobody

    def end(self, outcome: Admission | CortexError) -> None:
        """Tell it; it is let go of before, for it holds a request, which may be large, and may be held by it."""
        resume = self.resume
        self.cancel()
        try:
            resume(outcome)
        except Exception:  # a defect of one request must not lose those who wait behind it
            log.exception("a request of key %s that waited for its limits", self.key.id)


def _nobody(_: Admission | CortexError) -> None:
    """Nobody waits."""


class Limiter:
    """Of one gateway. ``holder``: no other process's name, also no earlier one's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        quota: Quota,
        tasks: TaskOwner,
        *,
        now_s: Callable[[], float],
        epoch_s: Callable[[], float],
        holder: str,
        fails_closed: bool,
    ) -> None:
        self._loop = loop
        self._quota = quota
        self._tasks = tasks
        self._now_s = now_s
        self._epoch_s = epoch_s
        self._holder = holder
        self.fails_closed = fails_closed
        self._holdings: dict[str, Holding] = {}
        self._waiting: dict[str, list[Waiting]] = {}
        self._hoping: dict[str, asyncio.TimerHandle] = {}
        """Until the store is asked again about a key of which others may give something back."""
        self._numbers = count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._silence: StoreUnavailable | None = None
        """What the store failed with when it was last asked."""
        self._probe_at_s = 0.0
        self._is_closed = False
        self.unchecked = self.reports = 0
        self.denials: Counter[str] = Counter()

    @property
    def is_silent(self) -> bool:
        """Whether the store failed when it was last asked."""
        return self._silence is not None

    def enter(self, key: Key, asked: Asked) -> Admission | CortexError | None:
        """Let a request in, or say why not; None: the store has to be asked, see ``wait``."""
        holding = self._holdings.get(key.id) or self._hold(key)
        large = holding.too_large(asked)
        if large is not None:
            return too_large(key, large.kind, large.limit, asked)
        if self._hoping and key.id in self._hoping:
            self._serve(holding)  # who came before goes before
        now_s = self._now_s()
        outcome: Admission | Denial | CortexError | None = holding.take(asked, now_s)
        if outcome is None and self._silence is not None:
            self._probe(holding, now_s)
            outcome = self._alone(holding, asked, now_s)
        if isinstance(outcome, Admission):
            if self._silence is None and holding.wants_to_ask(now_s):
                self._ask(holding)
            return outcome
        if not isinstance(outcome, Denial):
            return outcome
        before = [one.asked for one in self._waiting.get(key.id, ()) if not one.is_over] if outcome.elsewhere else ()
        return None if self._may_hope(holding, outcome, before) else self._said(key, outcome)

    def wait(self, key: Key, asked: Asked, resume: Resume) -> Waiting:
        """Ask the store for a request that was neither let in nor refused; ``resume`` hears what came of it."""
        holding = self._holdings[key.id]
        waiting = Waiting(key, asked, resume, self._now_s())
        self._waiting.setdefault(key.id, []).append(waiting)
        self._ask(holding)
        return waiting

    def standing(self, key: Key) -> tuple[Standing | None, Standing | None]:
        """Return how the key's limits stand, of requests and of tokens."""
        holding = self._holdings.get(key.id)
        return holding.standing(self._now_s()) if holding is not None else (None, None)

    def in_use(self) -> int:
        """Return how many requests have taken something and not settled it, or wait."""
        taken = sum(max(holding.in_flight, min(1, holding.reserved)) for holding in self._holdings.values())
        return taken + sum(not one.is_over for waiting in self._waiting.values() for one in waiting)

    async def finish(self, grace_s: float) -> None:
        """Give back what is held, as long as there is time."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for timer in self._hoping.values():
            timer.cancel()
        leaving = [holding for holding in self._holdings.values() if not holding.is_asking and not holding.in_flight]
        tasks = []
        for holding in leaving:
            holding.rest()
            if not holding.is_idle:
                tasks.append(self._tasks.start(self._give_back(holding), "give quota back"))
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)

    async def _give_back(self, holding: Holding) -> None:
        """Leave; before that, the store may have to say which window is open, and to hear what was used in it."""
        for _ in range(3):
            await self._tell(holding)
            if holding.is_idle or self._silence is not None:
                return

    def collect(self) -> Iterator[Metric]:
        """Yield the limiter's metrics."""
        refused = CounterMetricFamily("cortex_quota_denied", "Requests refused for a key's limit.", labels=("limit",))
        for limit, number in sorted(self.denials.items()):
            refused.add_metric((limit,), float(number))
        yield refused
        about = "Requests of limited keys let in without the store."
        unchecked = CounterMetricFamily("cortex_quota_unchecked", about, labels=())
        unchecked.add_metric((), float(self.unchecked))
        yield unchecked
        reports = CounterMetricFamily("cortex_quota_reports", "Reports to the store about keys' limits.", labels=())
        reports.add_metric((), float(self.reports))
        yield reports

    def _hold(self, key: Key) -> Holding:
        holding = Holding(key.id, key.limits, self._holder, lambda: next(self._numbers), self._epoch_s)
        self._holdings[key.id] = holding
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(SWEEP_S, self._sweep)
        return holding

    def _said(self, key: Key, denial: Denial) -> CortexError:
        self.denials[denial.kind.name if denial.kind is not None else CONCURRENT] += 1
        return denied(key, denial)

    def _alone(self, holding: Holding, asked: Asked, now_s: float) -> Admission | Denial | CortexError:
        """Decide without the store."""
        if self.fails_closed:
            return StoreUnavailable("The store that counts this key's limits cannot be asked: try again.")
        outcome = holding.take_alone(asked, now_s)
        if isinstance(outcome, Admission):
            self.unchecked += 1
        return outcome

    # The store

    def _ask(self, holding: Holding) -> None:
        if not holding.is_asking and not self._is_closed:
            self._tasks.start(self._tell(holding), "ask for quota")

    def _probe(self, holding: Holding, now_s: float) -> None:
        if now_s >= self._probe_at_s:
            self._probe_at_s = now_s + PROBE_S
            self._ask(holding)

    async def _tell(self, holding: Holding) -> None:
        if holding.is_asking:
            return
        self.reports += 1
        waiting = [one.asked for one in self._waiting.get(holding.key_id, ()) if not one.is_over]
        report = holding.report(waiting, self._now_s())
        try:
            answer = await self._quota.settle(report)
        except StoreUnavailable as error:
            self._failed(holding, error)
        except Exception:  # a defect of ours must not leave requests waiting
            log.exception("counting the limits of key %s", holding.key_id)
            self._failed(holding, StoreUnavailable("limits cannot be counted"))
        else:
            holding.answered(answer, self._now_s())
            self._silence = None
        self._serve(holding)

    def _failed(self, holding: Holding, error: StoreUnavailable) -> None:
        now_s = self._now_s()
        holding.failed(now_s)
        if self._silence is None:
            log.warning(
                "limits of keys are %s: %s",
                "not counted, and requests beyond what is held are refused"
                if self.fails_closed
                else "counted by this gateway alone",
                error.message,
            )
        self._silence = error
        self._probe_at_s = now_s + PROBE_S

    def _serve(self, holding: Holding) -> None:
        """Go through those who wait, in their order."""
        now_s = self._now_s()
        left: list[Waiting] = []
        is_to_ask = False
        for waiting in self._waiting.pop(holding.key_id, ()):
            if waiting.is_over:
                continue
            outcome: Admission | Denial | CortexError | None = holding.take(waiting.asked, now_s)
            if outcome is None and (self._silence is not None or now_s >= waiting.until_s):
                outcome = self._alone(holding, waiting.asked, now_s)
            if outcome is None or self._goes_on_hoping(holding, waiting, outcome, left, now_s):
                left.append(waiting)
                is_to_ask |= outcome is None
                continue
            waiting.end(self._said(waiting.key, outcome) if isinstance(outcome, Denial) else outcome)
        if left:
            self._waiting.setdefault(holding.key_id, [])[:0] = left
        if is_to_ask or (self._silence is None and holding.wants_to_ask(now_s)):
            self._ask(holding)
        elif left and holding.key_id not in self._hoping and not self._is_closed:
            self._hoping[holding.key_id] = self._loop.call_later(HOPE_AGAIN_S, partial(self._hope_again, holding))

    def _goes_on_hoping(
        self,
        holding: Holding,
        waiting: Waiting,
        outcome: Admission | Denial | CortexError,
        before: list[Waiting],
        now_s: float,
    ) -> bool:
        if not isinstance(outcome, Denial) or not outcome.elsewhere or now_s >= waiting.hopes_until_s:
            return False
        return self._may_hope(holding, outcome, [one.asked for one in before])

    def _may_hope(self, holding: Holding, denial: Denial, before: Sequence[Asked]) -> bool:
        return self._silence is None and not self._is_closed and holding.may_hope(denial, before)

    def _hope_again(self, holding: Holding) -> None:
        del self._hoping[holding.key_id]
        self._serve(holding)
        if self._waiting.get(holding.key_id):
            self._ask(holding)

    def _sweep(self) -> None:
        now_s = self._now_s()
        for key_id, holding in list(self._holdings.items()):
            try:
                self._look_at(key_id, holding, now_s)
            except Exception:  # a defect with one key must not stop time for the others
                log.exception("looking at the limits of key %s", key_id)
        self._timer = self._loop.call_later(SWEEP_S, self._sweep) if self._holdings else None

    def _look_at(self, key_id: str, holding: Holding, now_s: float) -> None:
        holding.roll()
        waiting = self._waiting.get(key_id)
        if waiting and min(one.until_s for one in waiting) <= now_s:
            self._serve(holding)
        elif self._silence is not None:
            if holding.is_due(now_s):
                self._probe(holding, now_s)
        elif holding.is_idle and not waiting:
            del self._holdings[key_id]
        elif holding.is_due(now_s):
            self._ask(holding)
