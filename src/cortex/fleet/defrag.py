"""Which harnesses are due for a restart, and when one that was restarted in vain is tried again.

Due is one that leaks (its neuron says ``restart_due``) or has unloaded so often as ``defrag_after_cycles`` says. One
that stays due after a restart was refused, stayed busy, or leaks by itself: it is left alone for growing times.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cortex.contract.node import HarnessHealth
from cortex.fleet.estate import is_in_maintenance
from cortex.fleet.view import NodeView

AGAIN_FIRST_S = 120.0
AGAIN_MAX_S = 7200.0


class DueHarness(NamedTuple):
    """One harness of one node that should be restarted."""

    node: str
    harness: str
    cycles: int
    leaking: int
    is_leaking: bool

    @property
    def why(self) -> str:
        """Say it in a clause."""
        if self.is_leaking:
            return f"{self.harness} on {self.node} does not give back what it should ({self.leaking} times)"
        return f"{self.harness} on {self.node} has unloaded {self.cycles} times"


class _Attempt(NamedTuple):
    tries: int
    again_s: float


NO_ATTEMPT = _Attempt(0, 0.0)


class DefragBook:
    """The restarts that were asked for and have not helped yet."""

    def __init__(self, after_cycles: int) -> None:
        self._after_cycles = after_cycles
        self._attempts: dict[tuple[str, str], _Attempt] = {}

    def due(self, nodes: Iterable[NodeView], now_s: float) -> list[DueHarness]:
        """Return the harnesses that may be restarted now, the worst first."""
        due = [found for node in nodes for found in self._due_on(node)]
        still = {(found.node, found.harness) for found in due}
        self._attempts = {key: attempt for key, attempt in self._attempts.items() if key in still}
        ripe = [found for found in due if now_s >= self._again_s(found)]
        return sorted(ripe, key=lambda found: (-found.leaking, -found.cycles, found.node, found.harness))

    def note(self, due: DueHarness, now_s: float) -> None:
        """Note that a restart is asked for."""
        tries = 1 + self._attempts.get((due.node, due.harness), NO_ATTEMPT).tries
        again_s = now_s + min(AGAIN_MAX_S, AGAIN_FIRST_S * 2 ** min(tries - 1, 16))
        self._attempts[(due.node, due.harness)] = _Attempt(tries, again_s)

    def _again_s(self, found: DueHarness) -> float:
        return self._attempts.get((found.node, found.harness), NO_ATTEMPT).again_s

    def _due_on(self, node: NodeView) -> Iterator[DueHarness]:
        if not node.is_healthy or node.health is None or is_in_maintenance(node):
            return
        for harness in node.health.harnesses:
            if self._is_due(harness):
                leaking = harness.restart_due or harness.leaking_cycles > 0
                yield DueHarness(node.name, harness.name, harness.cycles, harness.leaking_cycles, leaking)

    def _is_due(self, harness: HarnessHealth) -> bool:
        is_worn = 0 < self._after_cycles <= harness.cycles
        return is_worn or harness.restart_due or harness.leaking_cycles > 0
