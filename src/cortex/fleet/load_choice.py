"""What to do for a model that somebody waits for and no replica can serve: load it somewhere, wait, or refuse.

1. while not every node has been asked since start: wait;
2. a node that may be tried (not in back-off, not tried for these requests, without a replica): load there, the best
   plan first; at most ``MAX_TRIES`` nodes for the same requests;
3. nodes whose room others use for now: ask the node all the same, which keeps the order of those who wait; or wait
   until it may be asked again;
4. nodes that could, but failed lately: refuse with the last cause;
5. nodes that could, but have a replica that failed these very requests: refuse;
6. no node is healthy: refuse;
7. nodes whose room is taken for good (pinned, strangers): refuse for now;
8. nodes that could, but are not healthy or not known yet: refuse for now;
9. no node can ever: refuse for good.
"""

from collections.abc import Mapping

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest
from cortex.contract.profile import Profile
from cortex.fleet import refusal
from cortex.fleet.load_book import CAPACITY_CODES, Failure, LoadBook, Promise
from cortex.fleet.model import Model, Wish
from cortex.fleet.placement import Placement, Placements, find_holders, find_valid_placements
from cortex.fleet.revision import revision_of
from cortex.fleet.roster import Roster
from cortex.fleet.variant import profile_for

MAX_TRIES = 2


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done yet; it is looked at again."""


class Refusal(msgspec.Struct, frozen=True):
    """Nothing can be done; ``node`` is the one to blame, empty for none."""

    error: CortexError
    node: str = ""


class Load(msgspec.Struct, frozen=True):
    """Load there. ``is_first``: no node is known to have the model."""

    node: str
    request: LoadRequest
    reason: str = ""
    promise: Promise = Promise()
    is_first: bool = False


class LoadChoice:
    """Chooses for one model at a time."""

    def __init__(self, roster: Roster, book: LoadBook, models: Mapping[str, Model]) -> None:
        self._roster = roster
        self._book = book
        self._models = models

    def choose(
        self, model: Model, *, strategy: str, is_settled: bool, wish: Wish | None = None, now_s: float
    ) -> Load | Wait | Refusal:
        """Decide by the list above, for who waits or for a wish.

        ``is_settled``: every node has been asked, or was given long enough.
        """
        if not is_settled:
            return Wait()
        placements = placements_of(model, self._roster)
        without = [
            placement
            for placement in placements.valid
            if not _serves(model, placement.node) and (wish is None or wish.node in (None, placement.node))
        ]
        if wish is not None or (len(model.tried) < MAX_TRIES and _may_grow(model)):
            for placement in without:
                if placement.node not in model.tried and not self._book.is_held(placement.node, model.id, now_s):
                    return self._load(model, placement)
        return self._why_not(model, placements, [placement.node for placement in without], now_s)

    def _load(self, model: Model, placement: Placement) -> Load:
        request = load_request(model.id, model.profile, placement)
        promise = Promise(request.vram_mb or 0, request.devices or ())
        is_first = not any(view.report_of(model.id) is not None for view in self._roster.nodes.values())
        return Load(placement.node, request, "the best placement", promise, is_first)

    def _why_not(self, model: Model, placements: Placements, without: list[str], now_s: float) -> Wait | Refusal:
        book = self._book
        failure = book.latest_failure(model.id, without)
        if failure is not None and _is_passing(failure):
            return Wait()
        if failure is not None:
            cause = refusal.load_failed(failure, book.retry_in_s(model.id, without, now_s))
            return Refusal(cause, failure.node)
        return Refusal(self._why_never(model, placements))

    def _why_never(self, model: Model, placements: Placements) -> CortexError:
        if any(_serves(model, node) for node in model.replicas):
            return refusal.all_tried(model.id)
        if not self._roster.any_healthy():
            return refusal.no_healthy_node(self._roster.nodes.values())
        if placements.may_come():
            return refusal.nobody_yet(model.id, placements)
        if model.profile is None:
            return refusal.vanished(model.id)
        return refusal.never_fits(model.id, placements)


def placements_of(model: Model, roster: Roster) -> Placements:
    """Return where a model can run, whether the catalogue knows it or not."""
    nodes = roster.nodes.values()
    return find_holders(model.id, nodes) if model.profile is None else find_valid_placements(model.profile, nodes)


def load_request(model: str, profile: Profile | None, placement: Placement) -> LoadRequest:
    """Return what a neuron must know to load a model: all that the catalogue says for there, and the chosen devices."""
    if profile is None:
        return LoadRequest(model_id=model, harness=placement.harness)
    profile = profile_for(profile, placement.harness, placement.kind)
    devices = placement.devices
    return LoadRequest(
        model_id=model,
        harness=placement.harness,
        quant=profile.quant,
        tensor_parallel=len(devices) if devices and len(devices) > 1 else None,
        devices=devices,
        vram_mb=profile.vram_mb,
        source=profile.source,
        args=profile.args,
        context=profile.context,
        parallel=profile.parallel,
        mmproj=profile.mmproj,
        images_workflow=profile.images_workflow,
        idle_unload_s=profile.idle_unload_s,
        min_residency_s=profile.min_residency_s,
        pinned=placement.is_pinned,
        revision=revision_of(profile),
    )


def _is_passing(failure: Failure) -> bool:
    return failure.code in CAPACITY_CODES


def _serves(model: Model, node: str) -> bool:
    replica = model.replicas.get(node)
    return replica is not None and replica.state == "ready"


def _may_grow(model: Model) -> bool:
    limit = model.profile.max_replicas if model.profile is not None else None
    return limit is None or sum(replica.state == "ready" for replica in model.replicas.values()) < limit
