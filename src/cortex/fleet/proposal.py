"""Evictions that loads have asked for, until they are seen to have happened: a node may refuse, or need fewer to go.

Counts each victim once, for the load that asked last. Who goes is decided by ``eviction.py``, and by the node.
"""

from collections.abc import Iterable, Iterator
from math import inf

import msgspec

from cortex.contract.instance import Victim
from cortex.fleet.view import NodeView

LATE_S = 15.0
"""When a load has ended, news of who has gone for it come within this: a poll, where there is no event stream."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A victim is to go for a load of ``by`` on its node, which was asked for on account of ``caller``."""

    victim: str
    generation: int
    by: str
    caller: str
    until_s: float = inf
    """It is not waited for any longer."""


class Proposals:
    """What is open, by node and victim."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Proposal]] = {}

    def propose(self, node: str, victims: Iterable[Victim], *, by: str, caller: str) -> None:
        """Note that a node was asked to let instances go for a load."""
        for one in victims:
            proposal = Proposal(victim=one.model_id, generation=one.generation, by=by, caller=caller)
            self._open.setdefault(node, {})[one.model_id] = proposal

    def withdraw(self, node: str, by: str) -> None:
        """Note that a load was refused: nobody goes for it."""
        self._keep(node, [one for one in self._open.get(node, {}).values() if one.by != by])

    def close(self, node: str, by: str, now_s: float) -> None:
        """Note that a load has ended: who has not gone by then, or shortly before, stays."""
        replace = msgspec.structs.replace
        mine = self._open.get(node, {}).values()
        self._keep(node, [replace(one, until_s=now_s + LATE_S) if one.by == by else one for one in mine])

    def seen(self, node: NodeView, now_s: float) -> Iterator[Proposal]:
        """Yield the evictions that have happened by what a node tells now."""
        proposals = self._open.get(node.name)
        if proposals:
            gone = [one for one in proposals.values() if _has_gone(node, one)]
            self._keep(node.name, [one for one in proposals.values() if one not in gone and now_s < one.until_s])
            yield from gone

    def _keep(self, node: str, proposals: Iterable[Proposal]) -> None:
        kept = {one.victim: one for one in proposals}
        if kept:
            self._open[node] = kept
        else:
            self._open.pop(node, None)


def _has_gone(node: NodeView, proposal: Proposal) -> bool:
    """Tell whether a victim's generation is over. One that has failed was not evicted."""
    report = node.report_of(proposal.victim)
    if report is None:
        return True
    return report.generation > proposal.generation or report.status == "unloaded"
