"""How many requests of a model may be sent a second time, because the instance that had them failed.

A retry saves a request from one instance's failure; when all of them fail it only doubles the load. So retries are
bounded by a share of what was asked for lately, and by a floor that lets a lone request, or the slots of one instance
that dies, be retried all the same. What was never sent (no connection, a stale address) is no retry.
"""

SHARE = 0.1
"""Retries per request."""

FLOOR = 32
"""So many more, whatever the traffic: about as many requests as an instance has before their first token."""

WINDOW_S = 60.0


class RetryBudget:
    """Counts by model, in windows: the one under way and the one before. ``floor``: so many whatever the traffic."""

    __slots__ = ("_floor", "_models")

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._models: dict[str, _Count] = {}

    def note_request(self, model: str, now_s: float) -> None:
        """Count a request that is sent for the first time."""
        count = self._models.get(model)
        if count is None:
            count = self._models[model] = _Count(now_s)
        elif now_s >= count.ends_s:
            count.turn(now_s)
        count.requests += 1

    def spend(self, model: str, now_s: float) -> bool:
        """Tell whether a request may be sent once more, and count it if so."""
        count = self._models.get(model)
        if count is None:
            count = self._models[model] = _Count(now_s)
        elif now_s >= count.ends_s:
            count.turn(now_s)
        requests, retries = count.requests + count.requests_before, count.retries + count.retries_before
        if retries >= self._floor + SHARE * requests:
            return False
        count.retries += 1
        return True


class _Count:
    __slots__ = ("ends_s", "requests", "requests_before", "retries", "retries_before")

    def __init__(self, now_s: float) -> None:
        self.ends_s = now_s + WINDOW_S
        self.requests = self.requests_before = 0
        self.retries = self.retries_before = 0

    def turn(self, now_s: float) -> None:
        """Begin the next window; what is older than the last one is forgotten."""
        is_next = now_s < self.ends_s + WINDOW_S
        self.requests_before, self.requests = (self.requests if is_next else 0), 0
        self.retries_before, self.retries = (self.retries if is_next else 0), 0
        self.ends_s = now_s + WINDOW_S
