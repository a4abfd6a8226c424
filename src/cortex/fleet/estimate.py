"""How long a load will take, and how much of a loss it is when a model goes: what plans are weighed by, in seconds.

Guesses from the last time, else from the size. They order plans; nothing waits for them.
"""

from cortex.contract.instance import InstanceReport

START_S = 3.0
"""What an engine takes besides reading the model."""
READ_MB_PER_S = 500.0
"""A model that nobody saw loading is read at so much: a usual disk's speed, so that size counts at all."""
HORIZON_S = 600.0
"""A model that has been idle for so long is as likely as not to be asked for within as long again."""
ALIKE_S = 30.0
"""What a reload counts where all of them count alike."""


def load_s(report: InstanceReport | None, need_mb: int | None, slowest_s: float | None) -> float:
    """Return how long a model takes to load on a node, by its last load there.

    Else it is taken to be no quicker than the ``slowest_s`` on any other node: it may have to fetch the files first.
    """
    if report is not None and report.load_s is not None:
        return report.load_s
    return slowest_s if slowest_s is not None else size_s(need_mb or 0)


def reload_s(report: InstanceReport, held_mb: int) -> float:
    """Return how long it takes to bring an instance back."""
    return size_s(held_mb) if report.load_s is None else report.load_s


def size_s(size_mb: int) -> float:
    """Return how long a load of this size takes."""
    return START_S + size_mb / READ_MB_PER_S


def warmth(idle_s: float | None) -> float:
    """Return how likely a model is to be missed soon, 1 for one that just worked; unknown idle time counts as none.

    Who was not asked for in t seconds is asked for about once in t seconds: so it falls with 1 / t, and of two old ones
    the older is still the colder.
    """
    return HORIZON_S / (HORIZON_S + (idle_s or 0.0))
