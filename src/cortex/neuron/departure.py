"""Carries out one drain: looks at its instances until it is decided whether they go, and tells each of them its fate.

What follows from a look is decided in ``residency/drain.py``. Several instances share a departure when they are to go
together; one that is told to leave for another reason, or is lost, is released from it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from cortex.kit.clock import Clock
from cortex.residency.drain import Drain, DrainVerdict, Look

Fate = Literal["goes", "stays", "released"]

QUIET_POLL_S = 0.1

LookAt = Callable[[], Coroutine[Any, Any, Look]]


class Departure:
    """One drain under way. ``may_go`` is asked at the end: whether what they go for is still wanted."""

    def __init__(
        self,
        drain: Drain,
        clock: Clock,
        sleep: Callable[[float], Coroutine[Any, Any, None]],
        may_go: Callable[[], bool] = lambda: True,
    ) -> None:
        self.drain = drain
        self.in_flight: int | None = 0
        """What the last look found at all of them; None where one did not tell."""
        self._clock = clock
        self._sleep = sleep
        self._may_go = may_go
        self._looks: dict[str, LookAt] = {}
        self._fates: dict[str, asyncio.Future[Fate]] = {}
        self._is_called_off = False

    def add(self, key: str, look: LookAt) -> None:
        """Have an instance go with the others; ``look`` looks at it."""
        self._looks[key] = look
        self._fates[key] = asyncio.get_running_loop().create_future()

    def release(self, key: str) -> None:
        """Let an instance go its own way; once it is decided this changes nothing."""
        if self._looks.pop(key, None) is not None:
            self._fates[key].set_result("released")

    def call_off(self) -> None:
        """Have all of them stay, unless it is decided already."""
        self._is_called_off = True
        self._decide("stays")

    async def fate(self, key: str) -> Fate:
        """Return what becomes of an instance."""
        return await asyncio.shield(self._fates[key])

    async def run(self) -> bool:
        """Look until it is decided, and return whether they go; when none is left that is so."""
        try:
            while self._looks:
                verdict = await self._judged()
                if verdict == "given_up" or (verdict != "wait" and not self._may_go()):
                    self.call_off()
                elif verdict != "wait":
                    self._decide("goes")
                if self._looks:
                    await self._sleep(QUIET_POLL_S)
            return not self._is_called_off
        finally:
            self._decide("stays")  # of those for whom nothing was: a look failed, or the neuron is stopping

    async def _judged(self) -> DrainVerdict:
        asked = dict(self._looks)
        answers = await asyncio.gather(*(look() for look in asked.values()))
        looks = [look for key, look in zip(asked, answers, strict=True) if key in self._looks]
        if not looks:
            return "wait"
        counts = [look.in_flight for look in looks]
        self.in_flight = None if None in counts else sum(count or 0 for count in counts)
        return self.drain.judge(looks, self._clock.now_s())

    def _decide(self, fate: Fate) -> None:
        for key in self._looks:
            self._fates[key].set_result(fate)
        self._looks = {}
