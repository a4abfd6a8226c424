"""How long to wait before trying again: growing, bounded, spread. It neither waits nor counts."""

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Waits ``first_s``, then ``factor`` times longer each time, at most ``limit_s``."""

    first_s: float
    limit_s: float
    factor: float = 2.0

    def delay_s(self, failures: int, spread: float = 0.0) -> float:
        """Return the wait after ``failures`` tries in a row (0: before the second try).

        ``spread`` in [0, 1), drawn by the caller, shortens it by up to half, so that many do not return at once.
        """
        delay = self.first_s
        for _ in range(failures):
            if delay >= self.limit_s or self.factor <= 1:
                break
            delay *= self.factor
        return min(delay, self.limit_s) * (1 - spread / 2)
