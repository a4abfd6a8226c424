"""How a broken rule of the simulated fleet is told: the invariant's number, what happened, and the steps before it."""

from collections.abc import Sequence

from cortex.testing.referee import SimulationFailure

SHOWN = 30


class Verdict:
    """Raises for what is not so; ``checked`` counts how often each invariant was looked at."""

    def __init__(self, last_steps: Sequence[str]) -> None:
        self._last_steps = last_steps
        self.checked: dict[int, int] = {}

    def check(self, is_so: bool, invariant: int, what: str) -> None:
        self.checked[invariant] = self.checked.get(invariant, 0) + 1
        if not is_so:
            steps = "\n  ".join(self._last_steps[-SHOWN:])
            raise SimulationFailure(f"invariant {invariant}: {what}\n  {steps}")
