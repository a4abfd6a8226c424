"""Figures by step of time, the last so many of them, in four bytes each. Pure."""

from array import array
from math import isnan, nan


class Ring:
    """The values of the last ``size`` steps, which are numbered; of a step that was left out nothing is known."""

    __slots__ = ("_newest", "_values")

    def __init__(self, size: int) -> None:
        self._values = array("f", (nan,)) * size
        self._newest = -1

    def put(self, step: int, value: float | None) -> None:
        """Note the value of a step; one that is older than the newest changes nothing."""
        values, size = self._values, len(self._values)
        if step <= self._newest:
            return
        for skipped in range(max(self._newest + 1, step - size + 1), step):
            values[skipped % size] = nan
        values[step % size] = nan if value is None else value
        self._newest = step

    def last(self, until: int, count: int) -> tuple[float | None, ...]:
        """Return the values of the ``count`` steps before step ``until``."""
        return tuple(self._at(step) for step in range(until - count, until))

    def _at(self, step: int) -> float | None:
        size = len(self._values)
        if not self._newest - size < step <= self._newest:
            return None
        value = self._values[step % size]
        return None if isnan(value) else float(f"{value:.6g}")

    @property
    def newest(self) -> int:
        """The last step of which something was noted; -1 before the first."""
        return self._newest
