"""What happens when, in a simulation: one heap of (time, event), the time that it stands at, and what has been so far.

Equal schedules have equal traces. Implements ``kit.clock.Clock``; only ``step`` and ``skip`` move the time.
"""

import heapq
from collections.abc import Callable
from itertools import count
from zlib import crc32

Act = Callable[[], None]
REMEMBERED = 60


class Timeline:
    """The schedule of one run."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self.at_s = 0.0
        self.steps = 0
        self.trace = 0
        self.last: list[str] = []
        """What has happened lately, for whoever has to find out why."""
        self._heap: list[tuple[float, int, str, Act]] = []
        self._order = count()

    def now_s(self) -> float:
        return self.at_s

    def epoch_s(self) -> float:
        return self.at_s

    def later(self, delay_s: float, what: str, act: Act) -> None:
        """Do something after a while; without a name it leaves no trace."""
        heapq.heappush(self._heap, (self.at_s + delay_s, next(self._order), what, act))

    def repeat(self, every_s: float, act: Act, what: str = "") -> None:
        """Do something again and again."""

        def once() -> None:
            act()
            self.later(every_s, what, once)

        self.later(every_s, what, once)

    def has_more(self, until_s: float) -> bool:
        """Tell whether anything is to happen until then."""
        return bool(self._heap) and self._heap[0][0] <= until_s

    def skip(self, by_s: float) -> None:
        """Move the time on, and everything that is to happen with it."""
        self.at_s += by_s
        self._heap = [(due_s + by_s, order, what, act) for due_s, order, what, act in self._heap]
        heapq.heapify(self._heap)  # two that rounding has made equal go by their order

    def step(self) -> None:
        """Let the next thing happen."""
        self.at_s, _, what, act = heapq.heappop(self._heap)
        self.steps += 1
        if what:
            self.note(what)
        act()

    def note(self, what: str) -> None:
        """Remember something that happens now."""
        self.last.append(f"{self.at_s:8.3f} {what}")
        del self.last[: -self._remembered]
        self.trace = crc32(f"{self.at_s} {what}".encode(), self.trace)
