"""Replaces instances that were loaded by an older revision of the catalogue: they get nothing new, and leave.

Only what this gateway found at its start, or had when its catalogue changed, counts as older. What another gateway has
loaded since by a catalogue of its own is used as it is: two that disagree must not unload each other's models for ever.
What runs may finish; the next request, or the steward, loads the model anew.
"""

from cortex.contract.instance import UnloadRequest
from cortex.fleet import event as happened
from cortex.fleet.effect import Effect, UnloadModel
from cortex.fleet.floor import Floor
from cortex.fleet.model import Model
from cortex.fleet.replica import Replica
from cortex.fleet.revision import is_outdated

ASK_AGAIN_S = 60.0
"""An unload that came to nothing is tried again after this."""


class Renewal:
    """The outdated instances of all models."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._outdated: dict[tuple[str, str, int], float] = {}
        """By model, node and generation: when to ask for its unload."""

    def judge(self, model: Model, replica: Replica, now_s: float) -> None:
        """Find out whether an instance is of an older revision than the catalogue's."""
        report = self._floor.roster.nodes[replica.node].report_of(model.id)
        if model.profile is None or report is None or report.generation != replica.generation:
            return
        replica.is_outdated = bool(replica.generation) and is_outdated(model.profile, report)
        if replica.is_outdated:
            self._outdated.setdefault((model.id, replica.node, replica.generation), now_s)

    def judge_all(self, now_s: float) -> None:
        """Look at everything again: the catalogue has changed."""
        for model in self._floor.models.values():
            for replica in model.replicas.values():
                self.judge(model, replica, now_s)
            model.refresh(now_s)

    def ticked(self, now_s: float) -> list[Effect]:
        """Ask for the unloads that are due."""
        effects: list[Effect] = []
        for key, due_s in list(self._outdated.items()):
            model_id, node, generation = key
            model = self._floor.models.get(model_id)
            replica = model.replicas.get(node) if model is not None else None
            if replica is None or replica.generation != generation or not replica.is_outdated:
                del self._outdated[key]
            elif now_s >= due_s and self._floor.roster.nodes[node].is_healthy:
                self._outdated[key] = now_s + ASK_AGAIN_S
                reason = "the catalogue has changed since it was loaded"
                self._floor.decisions.note("unload", reason, now_s=now_s, model=model_id, node=node, why="revision")
                effects.append(UnloadModel(node, UnloadRequest(model_id=model_id)))
        return effects

    def unloaded(self, event: happened.UnloadFinished, now_s: float) -> None:
        """Take in how an unload ended: one that failed is tried again soon, and nobody waits for it meanwhile."""
        for key in self._outdated:
            if event.code and key[:2] == (event.model, event.node):
                self._outdated[key] = now_s + ASK_AGAIN_S
