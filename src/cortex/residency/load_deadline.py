"""Decides when a load has taken too long: by the model's size, and renewed by every sign of progress.

A sign is a number that has grown beyond all that it was before: memory in use, lines written. An engine that only
talks and never serves has an end too, after ``RENEWALS`` patiences.
"""

from collections.abc import Sequence

SLOWEST_MB_PER_S = 50
"""What the slowest disk worth loading from reads."""
RENEWALS = 4


class LoadDeadline:
    """The deadline of one load that began at ``now_s``."""

    def __init__(self, need_mb: int, patience_s: float, now_s: float) -> None:
        self._patience_s = patience_s + need_mb / SLOWEST_MB_PER_S
        self._until_s = now_s + self._patience_s
        self._end_s = now_s + RENEWALS * self._patience_s
        self._best: tuple[float, ...] = ()

    def note(self, signs: Sequence[float], now_s: float) -> None:
        """Take in the signs of progress, always the same ones in the same order."""
        best = tuple(map(max, signs, self._best or signs))
        if self._best and best != self._best:
            self._until_s = min(now_s + self._patience_s, self._end_s)
        self._best = best

    def left_s(self, now_s: float) -> float:
        """Return the time that is left; 0 when it is over."""
        return max(0.0, self._until_s - now_s)
