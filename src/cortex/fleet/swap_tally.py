"""What callers have cost the fleet: whose requests caused which loads and evictions, and how long devices loaded.

Counted from decisions. A load belongs to whoever it was placed for, however many joined it. Callers may be many, and
made up by strangers: beyond ``MAX_CALLERS`` they are counted as one.
"""

from cortex.contract.admin import CallerEntry
from cortex.fleet.decision import Decision

MAX_CALLERS = 1000
OTHERS = "(others)"


class _Cost:
    __slots__ = ("cold_starts", "evictions", "failures", "loading_s", "loads")

    def __init__(self) -> None:
        self.loads = self.failures = self.evictions = self.cold_starts = 0
        self.loading_s = 0.0


class SwapTally:
    """The costs of all callers since it was made; ``count`` is to be told of every decision."""

    def __init__(self) -> None:
        self._costs: dict[str, _Cost] = {}
        self._placed: dict[tuple[str, str], str] = {}
        """Whose loads are under way, by model and node."""

    def count(self, decision: Decision) -> None:
        """Take a decision into account."""
        where = decision.model, decision.node
        if decision.kind == "placement":
            self._placed[where] = decision.caller
        elif decision.kind == "load":
            cost = self._of(self._placed.pop(where, decision.caller))
            cost.loads += 1
            took_s = decision.details.get("took_s")
            cost.loading_s += took_s if isinstance(took_s, int | float) else 0.0
        elif decision.kind == "failure":
            self._of(self._placed.pop(where, decision.caller)).failures += 1
        elif decision.kind == "deferral":
            self._placed.pop(where, None)
        elif decision.kind == "eviction":
            self._of(decision.caller).evictions += 1
        elif decision.kind == "grant-cold":
            self._of(decision.caller).cold_starts += 1

    def callers(self) -> list[CallerEntry]:
        """Return all callers, the dearest first."""
        entries = [
            CallerEntry(
                caller=caller,
                loads=cost.loads,
                failures=cost.failures,
                evictions=cost.evictions,
                loading_s=round(cost.loading_s, 3),
                cold_starts=cost.cold_starts,
            )
            for caller, cost in self._costs.items()
        ]
        return sorted(entries, key=lambda entry: (-entry.loading_s, -entry.loads, -entry.evictions, entry.caller))

    def _of(self, caller: str) -> _Cost:
        cost = self._costs.get(caller)
        if cost is None:
            key = caller if len(self._costs) < MAX_CALLERS else OTHERS
            cost = self._costs.setdefault(key, _Cost())
        return cost
