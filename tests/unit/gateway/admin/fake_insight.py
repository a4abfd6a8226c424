"""What operators look at beside the fleet, from plain values; nothing of it is measured."""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from cortex.contract.activity import ActivityQuery, Cause, FinishedRequest, RunningRequest
from cortex.fleet.decision import Decision
from cortex.gateway.admin.history import Historian
from cortex.gateway.admin.insight import Insight
from cortex.gateway.ports import FinishedPart, FleetAdmin, Tally
from cortex.kit.clock import Clock

if TYPE_CHECKING:
    from cortex.contract.error import CortexError

CAUSE = Cause(
    number=7, kind="placement", reason="fits free memory", node="beast", caller="me", evicts=("old",), load_s=4.5
)


def a_running(**keys: object) -> RunningRequest:
    base = {
        "request_id": "req-1", "operation": "chat", "model": "org/big", "node": "beast", "caller": "key_1",
        "key": "alice", "state": "streaming", "started_epoch_s": 1_800_000_000.0, "for_s": 2.5, "stream": True,
        "attempts": 1, "cold_start": True, "first_token_s": 0.5, "completion_tokens": None, "why": CAUSE,
    }  # fmt: skip
    return RunningRequest(**(base | keys))  # type: ignore[arg-type]


def a_finished(**keys: object) -> FinishedRequest:
    base = {
        "number": 1, "request_id": "req-0", "operation": "chat", "model": "org/big", "node": "beast",
        "caller": "key_1", "key": "alice", "ended_epoch_s": 1_800_000_000.0, "duration_s": 1.25, "stream": True,
        "status": 200, "outcome": "ok", "attempts": 2, "lost": (("benjy", "upstream_broken"),), "cold_start": True,
        "first_token_s": 0.25, "prompt_tokens": 10, "completion_tokens": 20, "tokens_per_s": 20.0, "error": None,
        "why": CAUSE,
    }  # fmt: skip
    return FinishedRequest(**(base | keys))  # type: ignore[arg-type]


class FakeActivity:
    """Implements ``ports.ActivityLog``; does not narrow down, and notes what it was asked for."""

    def __init__(self) -> None:
        self.now: Sequence[RunningRequest] = (a_running(),)
        self.over: Sequence[FinishedRequest] = (a_finished(),)
        self.asked: list[ActivityQuery] = []

    def running(self, query: ActivityQuery) -> tuple[tuple[RunningRequest, ...], int]:
        return tuple(self.now[: query.limit]), len(self.now)

    def finished(self, query: ActivityQuery) -> FinishedPart:
        self.asked.append(query)
        requests = tuple(self.over[-query.limit :])
        newest = max((one.number for one in self.over), default=0)
        return FinishedPart(requests=requests, newest=newest, next=newest, is_gap=False)


class FakeTraffic:
    """Implements ``ports.Traffic``."""

    def __init__(self) -> None:
        self.next: dict[str, Tally] = {}

    def take(self) -> dict[str, Tally]:
        taken, self.next = self.next, {}
        return taken


class FakeLogs:
    """Implements ``ports.EngineLogs``: tells its parts, then ends, or fails."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, ...]] = [("one", "two"), (), ("three",)]
        self.refusal: CortexError | None = None
        self.failure: CortexError | None = None
        self.asked: list[tuple[str, str, int]] = []
        self.open = 0

    async def tail(self, model: str, node: str, lines: int) -> tuple[str, ...]:
        self._note(model, node, lines)
        return tuple(line for part in self.parts for line in part)[-lines:]

    def follow(self, model: str, node: str, lines: int) -> AsyncGenerator[tuple[str, ...]]:
        self._note(model, node, lines)
        return self._tell()

    async def _tell(self) -> AsyncGenerator[tuple[str, ...]]:
        self.open += 1
        try:
            for part in self.parts:
                yield part
            if self.failure is not None:
                raise self.failure
        finally:
            self.open -= 1

    def _note(self, model: str, node: str, lines: int) -> None:
        self.asked.append((model, node, lines))
        if self.refusal is not None:
            raise self.refusal


class Seen:
    """An ``Insight`` and what it asks."""

    def __init__(self, fleet: FleetAdmin, clock: Clock) -> None:
        self.activity, self.traffic, self.logs = FakeActivity(), FakeTraffic(), FakeLogs()
        self.historian = Historian(fleet, self.traffic, clock)
        self.insight = Insight(fleet, self.activity, self.historian, self.logs)


def a_decision(number: int = 1, **keys: object) -> Decision:
    base = {"number": number, "at_s": 0.0, "kind": "placement", "reason": "it fits", "model": "m", "node": "beast"}
    return Decision(**(base | keys))  # type: ignore[arg-type]
