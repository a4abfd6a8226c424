"""A ledger that can be asked, without a store: what is asked of it is written down."""

from collections.abc import Sequence

from cortex.contract.usage import UsageEntry, UsageGroup, UsageSum
from cortex.gateway.ports import UsageSpan


def a_sum(**keys: object) -> UsageSum:
    amounts = {"requests": 1, "failed": 0, "cold_starts": 0, "prompt_tokens": 2, "completion_tokens": 3}
    base = {**amounts, "total_tokens": 5, "duration_s": 0.5, "mean_first_token_s": None}
    return UsageSum(**(base | keys))  # type: ignore[arg-type]


def an_entry(number: int = 1) -> UsageEntry:
    return UsageEntry(
        id=f"s-{number}",
        request_id="r",
        started_epoch_s=1.0 + number / 10,
        key="alice",
        model="org/m",
        node="beast",
        operation="chat",
        status=200,
        outcome="ok",
        stream=False,
        cold_start=False,
        prompt_tokens=None,
        completion_tokens=None,
        total_tokens=None,
        first_token_s=None,
        duration_s=0.5,
        error=None,
    )


class FakeUsage:
    """Implements ``ports.Usage`` from plain values."""

    def __init__(self) -> None:
        self.found: list[UsageSum] = [a_sum()]
        self.entries: list[UsageEntry] = [an_entry()]
        self.asked: list[tuple[object, ...]] = []

    async def sums(self, by: Sequence[UsageGroup], span: UsageSpan, limit: int) -> tuple[UsageSum, ...]:
        self.asked.append((tuple(by), span, limit))
        return tuple(self.found[:limit])

    async def requests(self, span: UsageSpan, after: tuple[float, str] | None, limit: int) -> tuple[UsageEntry, ...]:
        self.asked.append((span, after, limit))
        left = [entry for entry in self.entries if after is None or (entry.started_epoch_s, entry.id) > after]
        return tuple(left[:limit])
