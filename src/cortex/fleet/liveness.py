"""Whether a node answers: one missed poll is not death, a refused connection is, and busy is not dead.

Liveness is one of three facts: what is resident on a node, and whether it can serve, are others. It also paces the
polls: who is still taken for healthy gets time to recover, who is not is asked again soon, then ever less often.
"""

MISSES = 3
FIRST_RETRY_S = 0.25


class Liveness:
    """Of one node; not healthy until it has answered once."""

    def __init__(self, misses: int = MISSES) -> None:
        self._bound = misses
        self._misses = 0
        self._retries = 0
        self.is_healthy = False
        self.why = ""

    def answered(self) -> bool:
        """Note an answer; return whether that makes the node healthy."""
        is_news = not self.is_healthy
        self.is_healthy, self.why, self._misses, self._retries = True, "", 0, 0
        return is_news

    def stirred(self) -> None:
        """Note that it said something unasked: whoever is taken for healthy stays it."""
        if self.is_healthy:
            self._misses = 0

    def missed(self, why: str, *, is_certain: bool) -> bool:
        """Note a question without an answer; return whether that makes the node unhealthy, or so for another reason."""
        self._misses += 1
        if self.is_healthy and not is_certain and self._misses < self._bound:
            return False
        is_news = self.is_healthy or why != self.why
        self.is_healthy, self.why = False, why
        self._retries += 1
        return is_news

    def pause_s(self, poll_s: float) -> float:
        """Return how long to wait until the next poll."""
        if not self._misses:
            return poll_s
        if self.is_healthy:
            return poll_s / 4
        return min(poll_s, FIRST_RETRY_S * float(2 ** min(self._retries - 1, 16)))
