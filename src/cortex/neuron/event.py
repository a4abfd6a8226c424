"""The version of what this neuron tells: a ``start_id`` per process and a number that grows with every change.

Every answer carries both, so that a gateway drops what is older than what it has seen.
"""

from collections.abc import Callable


class EventCounter:
    """Counts changes of this neuron's state."""

    def __init__(self, start_id: str) -> None:
        self.start_id = start_id
        self.event = 1
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have ``watcher`` called after every change, after those that came before it."""
        self._watchers.append(watcher)

    def bump(self) -> None:
        """Note a change."""
        self.event += 1
        for watcher in self._watchers:
            watcher()
