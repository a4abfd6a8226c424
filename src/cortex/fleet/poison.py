"""Requests that instances die of: one body costs two instances at most, however often its sender tries again.

Remembers by fingerprint which bodies were in an instance when its connection broke before it had answered. An answer to
the same body clears it: then the instances died of something else. Bodies are told apart by their length first, so that
nothing is hashed while there is nothing to find.
"""

from collections import OrderedDict

Fingerprint = tuple[int, bytes]
"""A body's length and a hash of it."""

Instance = tuple[str, int]
"""Node and generation."""

MAX_DEATHS = 2
FORGOTTEN_S = 60.0
"""How long a body stays on the list after the last death: long enough for a client to give up trying again."""

MAX_BODIES = 256


class PoisonList:
    """Which bodies instances have died with."""

    __slots__ = ("_deaths", "lengths")

    def __init__(self) -> None:
        self._deaths: OrderedDict[Fingerprint, tuple[frozenset[Instance], float]] = OrderedDict()
        """The instances, and when the last one died; oldest first."""
        self.lengths: dict[int, int] = {}
        """How many bodies of each length are on the list: who has another length need not be looked for."""

    def note_death(self, body: Fingerprint, instance: Instance, now_s: float) -> None:
        """Note that an instance died with a body; many equal ones in one instance are one death."""
        dead = self._dead(body, now_s) | {instance}
        self.clear(body)
        self._deaths[body] = (dead, now_s)
        self.lengths[body[0]] = self.lengths.get(body[0], 0) + 1
        if len(self._deaths) > MAX_BODIES:
            self.clear(next(iter(self._deaths)))

    def deaths(self, body: Fingerprint, now_s: float) -> int:
        """Return how many instances died with a body lately."""
        return len(self._dead(body, now_s))

    def clear(self, body: Fingerprint) -> None:
        """Take a body off the list: an instance has answered it."""
        if self._deaths.pop(body, None) is None:
            return
        self.lengths[body[0]] -= 1
        if not self.lengths[body[0]]:
            del self.lengths[body[0]]

    def _dead(self, body: Fingerprint, now_s: float) -> frozenset[Instance]:
        while self._deaths:
            oldest = next(iter(self._deaths))
            if now_s - self._deaths[oldest][1] < FORGOTTEN_S:
                break
            self.clear(oldest)
        return self._deaths[body][0] if body in self._deaths else frozenset()
