"""What is looked at while a soak runs, once a second, and whether it stayed flat."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.child import Child

FLAT_SHARE = 0.05
"""How far the mean of the last fifth may be from that of the second."""


class Sample(NamedTuple):
    """One process at one moment."""

    rss_mib: float
    descriptors: int


def look(child: Child) -> Sample | None:
    """Return how a process is, its children left out; None when it is gone."""
    try:
        pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
        descriptors = len(os.listdir(f"/proc/{child.pid}/fd"))
    except (OSError, IndexError):
        return None
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, descriptors)


class Course(NamedTuple):
    """How a figure went: the mean of its second fifth, and of its last."""

    early: float
    late: float

    @property
    def share(self) -> float:
        """How much it has grown."""
        return self.late / self.early - 1 if self.early else 0.0

    @property
    def is_flat(self) -> bool:
        return abs(self.share) <= FLAT_SHARE


def course(figures: Sequence[float]) -> Course:
    """Judge a series; it must have at least five figures."""
    fifth = len(figures) // 5
    return Course(statistics.fmean(figures[fifth : 2 * fifth]), statistics.fmean(figures[-fifth:]))
