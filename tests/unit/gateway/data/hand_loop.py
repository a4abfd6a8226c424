"""The part of an event loop that keeps time, moved on by hand."""

import asyncio
from collections.abc import Callable

START_S = 1000.0


class LateLoop(asyncio.SelectorEventLoop):
    """A real one whose clock can be moved on."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


class FakeLoop:
    """The part of an event loop that keeps time."""

    def __init__(self) -> None:
        self._now_s = START_S
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer(self._now_s + delay_s, callback)
        self.timers.append(timer)
        return timer

    def advance(self, by_s: float) -> None:
        """Move the clock on, and run what is due at its time."""
        end_s = self._now_s + by_s
        while (timer := min(self.live(), key=lambda timer: timer.at_s, default=None)) and timer.at_s <= end_s:
            self._now_s = timer.at_s
            timer.is_over = True
            timer.callback()
        self._now_s = end_s

    def live(self) -> list["Timer"]:
        self.timers = [timer for timer in self.timers if not timer.is_over]
        return self.timers


class Timer:
    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.is_over = False

    def cancel(self) -> None:
        self.is_over = True
