"""What each key has asked for, counted for Prometheus. Who has no key is not counted here.

Keys are made by operators, so there are few; should there be many, the later ones are counted together.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.gateway.data.record import RequestRecord

MAX_KEYS = 1000
OTHERS = "(others)"


class _Count:
    """Of one key."""

    __slots__ = ("completion_tokens", "prompt_tokens", "requests")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0


class KeyMetrics:
    """Counts records by the name of their key."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._counts: dict[str, _Count] = {}
        self._max_keys = max_keys

    def count(self, record: RequestRecord) -> None:
        """Count one request."""
        count = self._counts.get(record.key)
        if count is None:
            name = record.key if len(self._counts) < self._max_keys else OTHERS
            count = self._counts.setdefault(name, _Count())
        count.requests += 1
        count.prompt_tokens += record.prompt_tokens or 0
        count.completion_tokens += record.completion_tokens or 0

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        requests = CounterMetricFamily("cortex_key_requests", "Requests with a key.", labels=("key",))
        tokens = CounterMetricFamily("cortex_key_tokens", "Tokens that they took.", labels=("key", "type"))
        for key, count in self._counts.items():
            requests.add_metric((key,), count.requests)
            tokens.add_metric((key, "prompt"), count.prompt_tokens)
            tokens.add_metric((key, "completion"), count.completion_tokens)
        yield from (requests, tokens)
