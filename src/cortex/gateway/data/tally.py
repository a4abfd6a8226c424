"""Adds up what requests came to, by model, until somebody takes it away: what series over time are made of.

Bounded by models, and by nothing else: a second or a day costs the same.
"""

from collections.abc import Callable

from cortex.gateway.data.record import RequestRecord
from cortex.gateway.ports import Tally

MAX_MODELS = 256
"""What comes beyond is counted as no model's."""


class Traffic:
    """Implements ``data.record.Recorder`` and ``ports.Traffic``."""

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        """``settle``: have come in what is on its way here."""
        self._settle = settle
        self._by_model: dict[str, Tally] = {}

    def record(self, record: RequestRecord) -> None:
        """Count one request."""
        tally = self._by_model.get(record.model)
        if tally is None:
            tally = self._begin(record.model)
        tally.requests += 1
        if record.outcome == "failed" or (record.status >= 500 and record.outcome != "client_gone"):
            tally.errors += 1
        if record.cold_start:
            tally.cold_starts += 1
        if record.prompt_tokens:
            tally.prompt_tokens += record.prompt_tokens
        if record.completion_tokens:
            tally.completion_tokens += record.completion_tokens
        if record.time_to_first_token_ms is not None:
            tally.first_token.add(record.time_to_first_token_ms * 1e-3)
        if record.request_overhead_ms is not None and record.response_overhead_ms is not None:
            tally.overhead.add((record.request_overhead_ms + record.response_overhead_ms) * 1e-3)

    def take(self) -> dict[str, Tally]:
        """See ``ports.Traffic``."""
        self._settle()
        taken, self._by_model = self._by_model, {}
        return taken

    def _begin(self, model: str) -> Tally:
        known = model if len(self._by_model) < MAX_MODELS else ""
        return self._by_model.setdefault(known, Tally())
