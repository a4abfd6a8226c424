"""Hands out ports of a range in rotation, so that a port that was just given back is the last to be used again.

A stale endpoint on a reused port would reach another model. Both ends of the range are included. Whether a port is free
on the host is asked through a callable: this file touches no socket.
"""

from collections.abc import Callable


class PortRotation:
    """Remembers who has which port of ``first`` … ``last``."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._count = last - first + 1
        self._next = 0
        self._taken: set[int] = set()

    def take(self, is_free: Callable[[int], bool]) -> int | None:
        """Return the next port that nobody here has and that ``is_free`` on the host; None when all are busy."""
        for step in range(self._count):
            port = self._first + (self._next + step) % self._count
            if port not in self._taken and is_free(port):
                self._next = (self._next + step + 1) % self._count
                self._taken.add(port)
                return port
        return None

    def claim(self, port: int) -> None:
        """Note a port that an engine found running already has; one outside the range is none of ours."""
        if self._first <= port < self._first + self._count:
            self._taken.add(port)

    def give_back(self, port: int) -> None:
        """Free a port; one that was not taken changes nothing."""
        self._taken.discard(port)
