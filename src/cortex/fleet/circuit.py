"""Whether an instance that failed may be sent requests again: the circuit breaker of one replica.

    closed ──failure──▶ open ──rest over──▶ half-open: one request at a time, the probe
       ▲                 ▲                      │
       └──probe answered─┼──────────────────────┤
                         └────probe failed──────┘

One failure opens it, because its neuron is asked at once and has to vouch for it besides; what it prevents is that the
whole queue rushes at an engine that accepts and never answers. A probe whose sender left says nothing: the next one is
sent. The rest doubles with every failure in a row, up to a bound. After a few of them it is broken: it is probed still,
and nobody who has anywhere else to go waits for it.
"""

REST_FIRST_S = 0.25
REST_MAX_S = 2.0
BROKEN_AFTER = 3
FORGOTTEN_S = 30.0
"""So long after its last failure a closed one is taken for well, and the next failure for a first one."""


class Circuit:
    """Of one replica. ``is_closed`` is all that the hot path asks."""

    __slots__ = ("_failed_s", "_failures", "_is_doubtful", "_probe", "is_closed", "rest_until_s")

    def __init__(self) -> None:
        self.is_closed = True
        self.rest_until_s = 0.0
        self._failures = 0
        self._failed_s = 0.0
        self._probe: int | None = None
        self._is_doubtful = False
        """Something failed since the probe was sent, perhaps the probe."""

    @property
    def is_broken(self) -> bool:
        """Whether it failed so often in a row that it is not worth waiting for."""
        return not self.is_closed and self._failures >= BROKEN_AFTER

    def is_open(self, now_s: float) -> bool:
        """Tell whether it rests: what fails meanwhile was sent before."""
        return now_s < self.rest_until_s

    def admits(self, now_s: float) -> bool:
        """Tell whether a request may be sent."""
        return self.is_closed or (now_s >= self.rest_until_s and self._probe is None)

    def send(self, ticket: int) -> None:
        """A request is sent, although it is not closed."""
        self._probe = ticket
        self._is_doubtful = False

    def answer(self, ticket: int) -> None:
        """A request is being answered: if it is the probe, the engine works, whatever has failed before."""
        if ticket == self._probe:
            self._close()

    def end(self, ticket: int, *, is_cancelled: bool) -> None:
        """A request is over. A probe that nobody broke off, and after which nothing failed, was answered."""
        if ticket != self._probe:
            return
        if is_cancelled or self._is_doubtful:
            self._probe = None
        else:
            self._close()

    def fail(self, now_s: float) -> None:
        """A request failed. The probe, if there is one, is still out until it ends."""
        if self.is_closed and now_s - self._failed_s > FORGOTTEN_S:
            self._failures = 0
        self._failures += 1
        self._failed_s = now_s
        self._is_doubtful = True
        self.is_closed = False
        self.rest_until_s = now_s + rest_s(self._failures)

    def doubt(self) -> None:
        """The probe shows nothing, though it was not broken off."""
        self._is_doubtful = True

    def _close(self) -> None:
        self._probe = None
        self.is_closed = True
        self._failures = 0


def rest_s(failures: int) -> float:
    """Return how long an instance rests after its n-th failure in a row, in seconds."""
    return float(min(REST_MAX_S, REST_FIRST_S * 2 ** min(failures - 1, 16)))
