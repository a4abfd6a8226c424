"""A histogram that costs a third of a microsecond to write to, and adds up with others of its bounds.

The library's own takes three times as long (measured 2026-10) because it locks and looks labels up; here one event
loop writes. What it becomes as text: ``exposition.py``.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence


class Histogram:
    """Counts values by upper bound; the last bucket has none."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, values up to it) as Prometheus writes them."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            found.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(so_far)))
        return found


def summed(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of at least one histogram of equal bounds."""
    first, *others = histograms
    result = Histogram(first.bounds)
    result.counts = [sum(column) for column in zip(first.counts, *(other.counts for other in others), strict=True)]
    result.total = first.total + sum(other.total for other in others)
    return result
