"""What the fleet should do unasked: keep replicas, add and take them, restart engines, clear nodes for maintenance.

Runs in one gateway at a time, which is the steward; ``advise`` is asked now and then, of a new object for every term of
office. It keeps only what can be lost: another steward comes to the same advice from the same view, if later. Nothing
is forced, and nothing is ever cut for it.
"""

from collections.abc import Iterator

from cortex.fleet.estate import Estate
from cortex.fleet.move import Mover
from cortex.fleet.scaling import Scaling
from cortex.fleet.stewardship import Advice, StewardRules, StewardView
from cortex.fleet.view import NodeView

ASK_AGAIN_S = 10.0
"""An unload that came to nothing is not asked for again before."""


class Steward:
    """One term of office."""

    def __init__(self, rules: StewardRules | None = None) -> None:
        self._rules = rules or StewardRules()
        self._scaling = Scaling(self._rules)
        self._mover = Mover(self._rules)
        self._silent_s: dict[str, float] = {}
        self._unloaded_s: dict[tuple[str, str], float] = {}

    def advise(self, view: StewardView, now_s: float) -> list[Advice]:
        """Return what should be done now, moves first."""
        lost = self._lost(view, now_s)
        if not view.is_settled or any(_is_unheard(node) and node.name not in lost for node in view.nodes):
            return []
        estate = Estate(view, now_s, lost)
        moves = self._mover.advise(estate)
        for advice in moves:
            if advice.kind == "load":
                estate.note(advice)
        return list(self._fresh([*moves, *self._scaling.advise(estate)], now_s))

    def _lost(self, view: StewardView, now_s: float) -> frozenset[str]:
        """Return the nodes that have been silent for so long that what they had counts as gone."""
        silent = [node.name for node in view.nodes if not node.is_healthy]
        self._silent_s = {name: self._silent_s.get(name, now_s) for name in silent}
        return frozenset(name for name in silent if now_s - self._silent_s[name] >= self._rules.lost_after_s)

    def _fresh(self, advised: list[Advice], now_s: float) -> Iterator[Advice]:
        """Leave out unloads that were advised a moment ago."""
        self._unloaded_s = {key: at_s for key, at_s in self._unloaded_s.items() if now_s - at_s < ASK_AGAIN_S}
        for advice in advised:
            key = (advice.node, advice.model)
            if advice.kind == "unload":
                if key in self._unloaded_s:
                    continue
                self._unloaded_s[key] = now_s
            yield advice


def _is_unheard(node: NodeView) -> bool:
    """Tell whether nobody knows what a node has: it may be on its way up."""
    return not node.is_healthy and node.health is None
