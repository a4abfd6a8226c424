"""How late an event loop gets to what is due: a timer that looks at the clock four times a second.

Whatever keeps the loop busy (a large body, a collection, a slow disk) makes every request late by as much, and no
request's own times show it. A stop of the loop is seen once, with its whole length.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from cortex.kit.histogram import Histogram

EVERY_S = 0.25
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
WINDOW_S = 60.0


class LoopLag:
    """Of one loop. ``histogram`` has every look since the start."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._now_s = now_s
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._worst: deque[tuple[float, float]] = deque()
        """(when, lag) of those looks within the window that none after them was worse than, the worst first."""
        self.histogram = Histogram(BOUNDS_S)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look; called within the loop, and so is ``stop``."""
        self._loop = loop
        self._arm(self._now_s())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def worst_s(self) -> float:
        """Return the longest lag of the last minute."""
        self._forget(self._now_s())
        return self._worst[0][1] if self._worst else 0.0

    def _arm(self, now_s: float) -> None:
        assert self._loop is not None
        self._due_s = now_s + EVERY_S
        self._timer = self._loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        now_s = self._now_s()
        lag_s = max(now_s - self._due_s, 0.0)
        self.histogram.observe(lag_s)
        while self._worst and self._worst[-1][1] <= lag_s:
            self._worst.pop()
        self._worst.append((now_s, lag_s))
        self._forget(now_s)
        self._arm(now_s)

    def _forget(self, now_s: float) -> None:
        while self._worst and self._worst[0][0] < now_s - WINDOW_S:
            self._worst.popleft()
