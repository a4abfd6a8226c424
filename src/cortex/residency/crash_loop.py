"""Decides how long a model that keeps failing is left alone. One failure is an accident: the next try is free.

After that the waits grow, and after ``LIMIT`` failures in a row it is tried once an hour. An engine that served for
``STEADY_S`` before it was lost has ended the row.
"""

from cortex.residency.backoff import Backoff

WAITS = Backoff(first_s=5, limit_s=320, factor=4)
LIMIT = 6
LIMIT_WAIT_S = 3600.0
STEADY_S = 600.0


class CrashLoop:
    """The failures of one model in a row."""

    def __init__(self) -> None:
        self.failures = 0
        self._until_s = float("-inf")

    def failed(self, served_s: float, now_s: float) -> None:
        """Note a failure of an engine that had served for so long (0: it never did)."""
        if served_s >= STEADY_S:
            self.failures = 0
        self.failures += 1
        self._until_s = now_s + self._wait_s()

    def left_s(self, now_s: float) -> float:
        """Return for how long it must not be tried; 0 when it may be."""
        return max(0.0, self._until_s - now_s)

    def _wait_s(self) -> float:
        if self.failures < 2:
            return 0.0
        return LIMIT_WAIT_S if self.failures >= LIMIT else WAITS.delay_s(self.failures - 2)
