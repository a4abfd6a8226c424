"""A clock that moves only when it is told to, with a ``sleep`` that follows it: tests wait for nothing."""

import asyncio
import heapq
from itertools import count


class VirtualClock:
    """Implements ``kit.clock.Clock``; pass ``sleep`` wherever a component takes one."""

    def __init__(self, start_s: float = 1000.0, epoch_s: float = 1_800_000_000.0) -> None:
        self._now_s = start_s
        self._epoch_offset_s = epoch_s - start_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._changed = asyncio.Event()

    def now_s(self) -> float:
        return self._now_s

    def epoch_s(self) -> float:
        return self._now_s + self._epoch_offset_s

    async def sleep(self, delay_s: float) -> None:
        """Return once the clock has been moved by ``delay_s``."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + delay_s, next(self._order), woken))
        self._changed.set()
        await woken

    def advance(self, by_s: float) -> None:
        """Move the clock and wake whoever is due, in order of their times."""
        self._now_s += by_s
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    def sleepers(self) -> int:
        """Return how many sleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def until_asleep(self, sleepers: int = 1) -> None:
        """Wait until at least so many sleep, which is when whatever they did before is done."""
        while self.sleepers() < sleepers:
            self._changed.clear()
            await self._changed.wait()

    async def step(self, by_s: float, sleepers: int = 1) -> None:
        """Move the clock once so many sleep, and wait until as many sleep again."""
        await self.until_asleep(sleepers)
        self.advance(by_s)
        await self.until_asleep(sleepers)
