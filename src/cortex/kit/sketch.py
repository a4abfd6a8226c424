"""Quantiles of values that are counted and forgotten: within 5 %, in a few hundred bytes, and they add up.

Values are counted in classes that grow by a tenth (as in DDSketch). No library: the known ones need numpy, or take a
hundred times as long to write to.
"""

from math import ceil, exp, log

_CLASSES = 1 / log(1.1)
_LEAST = 1e-6
"""What is less counts for this."""


class Sketch:
    """Counts values that are not negative; seconds, say."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts.values())

    def add(self, value: float) -> None:
        """Count a value."""
        place = ceil(log(value if value > _LEAST else _LEAST) * _CLASSES)
        self._counts[place] = self._counts.get(place, 0) + 1

    def merge(self, other: "Sketch") -> None:
        """Count what another one has counted."""
        for place, count in other._counts.items():
            self._counts[place] = self._counts.get(place, 0) + count

    def quantile(self, share: float) -> float | None:
        """Return the value below which this share of the values is; None of none."""
        rank, seen = share * self.count, 0
        for place, count in sorted(self._counts.items()):
            seen += count
            if seen >= rank:
                return exp((place - 0.5) / _CLASSES)
        return None
