"""Does what the steward advises, in the one gateway that is the steward: loads, unloads and restarts unasked.

What is advised comes again with a later look while it still seems right, so advice that cannot be taken is dropped.
"""

from cortex.contract.instance import UnloadRequest
from cortex.contract.node import RestartRequest
from cortex.fleet import event as happened
from cortex.fleet.effect import Effect, RestartHarness, UnloadModel
from cortex.fleet.floor import Floor
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.steward import Steward
from cortex.fleet.stewardship import Advice, ModelStand, StewardView

LOOK_S = 1.0


class Upkeep:
    """The steward's room of the dispatcher."""

    def __init__(self, floor: Floor, loading: Loading) -> None:
        self._floor = floor
        self._loading = loading
        self._steward = Steward(floor.policy.rules)
        self._is_steward = False
        self._number: int | None = None
        self._looked_s = float("-inf")
        self._unloading: set[tuple[str, str]] = set()
        self._restarting: set[tuple[str, str]] = set()

    def changed(self, event: happened.StewardChanged, now_s: float) -> list[Effect]:
        """Become the steward, or not be it any more: what it had in hand is forgotten then."""
        if event.is_steward != self._is_steward:
            self._steward = Steward(self._floor.policy.rules)
            reason = "this gateway is the steward" if event.is_steward else "this gateway is the steward no longer"
            self._floor.decisions.note("steward", reason, now_s=now_s, number=event.number)
        self._is_steward, self._number = event.is_steward, event.number
        return []

    def ticked(self, now_s: float) -> list[Effect]:
        """Look around, if it is time to."""
        if not self._is_steward or now_s - self._looked_s < LOOK_S or not self._floor.is_settled(now_s):
            return []
        self._looked_s = now_s
        effects: list[Effect] = []
        for advice in self._steward.advise(self._view(now_s), now_s):
            effects += self._take(advice, now_s)
        return effects

    def unloaded(self, event: happened.UnloadFinished, now_s: float) -> list[Effect]:
        self._unloading.discard((event.node, event.model))
        if event.code:
            self._note_failure(event.message, event.code, now_s, model=event.model, node=event.node)
        return []

    def restarted(self, event: happened.RestartFinished, now_s: float) -> list[Effect]:
        self._restarting.discard((event.node, event.harness))
        if event.code:
            self._note_failure(event.message, event.code, now_s, model="", node=event.node)
        return []

    def _take(self, advice: Advice, now_s: float) -> list[Effect]:
        if advice.kind == "load":
            return self._load(advice, now_s)
        note = self._floor.decisions.note
        if advice.kind == "unload":
            self._unloading.add((advice.node, advice.model))
            note("unload", advice.reason, now_s=now_s, model=advice.model, node=advice.node, caller="steward")
            return [UnloadModel(advice.node, UnloadRequest(model_id=advice.model, steward=self._number))]
        self._restarting.add((advice.node, advice.harness))
        note("restart", advice.reason, now_s=now_s, node=advice.node, caller="steward", harness=advice.harness)
        request = RestartRequest(cycles=advice.cycles, steward=self._number)
        return [RestartHarness(advice.node, advice.harness, request)]

    def _load(self, advice: Advice, now_s: float) -> list[Effect]:
        model = self._floor.models.get(advice.model)
        if model is None or advice.placement is None:
            return []
        effects = self._loading.start_advised(
            model, advice.placement, advice.evict, reason=advice.reason, steward=self._number, now_s=now_s
        )
        if effects and advice.leaves:
            self._floor.decisions.note(
                "move", advice.reason, now_s=now_s, model=model.id, node=advice.node, caller="steward",
                leaves=advice.leaves,
            )  # fmt: skip
        return effects

    def _view(self, now_s: float) -> StewardView:
        floor = self._floor
        return StewardView(
            nodes=tuple(floor.roster.nodes.values()),
            models=tuple(_stand_of(model, now_s) for model in floor.models.values()),
            loading=frozenset((flight.node, flight.model) for flight in floor.book.flights()),
            unloading=frozenset(self._unloading),
            restarting=frozenset(self._restarting),
            held=floor.book.held(now_s),
            is_settled=True,
        )

    def _note_failure(self, message: str, code: str, now_s: float, *, model: str, node: str) -> None:
        self._floor.decisions.note("failure", message, now_s=now_s, model=model, node=node, caller="steward", code=code)


def _stand_of(model: Model, now_s: float) -> ModelStand:
    replicas = model.replicas.values()
    return ModelStand(
        id=model.id,
        profile=model.profile,
        waiting=len(model.waiting),
        in_flight={replica.node: replica.in_flight for replica in replicas if replica.in_flight},
        idle_s={replica.node: now_s - replica.last_used_s for replica in replicas},
    )
