"""The one place that asks the system for the time; everything else is given a :class:`Clock`.

Durations and deadlines use ``now_s``, which runs on while the machine is suspended: a gateway that wakes up must not
trust a lease that died in its sleep. ``epoch_s`` is for what people and other hosts read, never for a decision.
"""

import time
from functools import partial
from typing import Protocol

# Linux has CLOCK_BOOTTIME; elsewhere the monotonic clock has to do, which may stand still during a suspend.
_RUNNING_ON = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Tells the time, in seconds."""

    def now_s(self) -> float:
        """Return seconds since some fixed moment; never goes back, comparable on one host only."""
        ...

    def epoch_s(self) -> float:
        """Return UTC epoch seconds; may jump."""
        ...


class SystemClock:
    """The host's own clock. Ten times a request it is asked for the time: there is no frame of Python's between."""

    now_s = staticmethod(partial(time.clock_gettime, _RUNNING_ON))
    epoch_s = staticmethod(time.time)
