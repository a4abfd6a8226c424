"""What to do for a model that somebody waits for and no replica can serve: load it somewhere, wait, or refuse.

1. while not every node has been asked since start: wait;
2. a node that may be tried (not in back-off, not tried for these requests, without a replica): load there, the best
   placement first; at most ``MAX_TRIES`` nodes for the same requests;
3. nodes that could, but failed lately: refuse with the last cause;
4. nodes that could, but have a replica that failed these very requests: refuse;
5. no node is healthy: refuse;
6. nodes that could, but are not healthy or not known yet: refuse for now;
7. no node can ever: refuse for good.
"""

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest
from cortex.contract.profile import Profile
from cortex.fleet import refusal
from cortex.fleet.load_book import LoadBook
from cortex.fleet.model import Model
from cortex.fleet.placement import Placement, Placements, find_holders, find_valid_placements
from cortex.fleet.revision import revision_of
from cortex.fleet.roster import Roster
from cortex.fleet.variant import profile_for

MAX_TRIES = 2


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be decided yet."""


class Refusal(msgspec.Struct, frozen=True):
    """Nothing can be done; ``node`` is the one to blame, empty for none."""

    error: CortexError
    node: str = ""


class Load(msgspec.Struct, frozen=True):
    """Load there."""

    node: str
    request: LoadRequest


def choose_load(
    model: Model, roster: Roster, book: LoadBook, *, is_settled: bool, now_s: float
) -> Load | Wait | Refusal:
    """Decide by the list above. ``is_settled``: every node has been asked, or was given long enough."""
    if not is_settled:
        return Wait()
    placements = placements_of(model, roster)
    without = [placement for placement in placements.valid if not _serves(model, placement.node)]
    if len(model.tried) < MAX_TRIES and _may_grow(model):
        for placement in without:
            if placement.node not in model.tried and not book.is_held(placement.node, model.id, now_s):
                return Load(placement.node, load_request(model.id, model.profile, placement))
    return Refusal(*_why_not(model, placements, [placement.node for placement in without], roster, book, now_s))


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


def _serves(model: Model, node: str) -> bool:
    replica = model.replicas.get(node)
    return replica is not None and replica.state == "ready"


def _may_grow(model: Model) -> bool:
    limit = model.profile.max_replicas if model.profile is not None else None
    return limit is None or sum(replica.state == "ready" for replica in model.replicas.values()) < limit


def _why_not(
    model: Model, placements: Placements, without: list[str], roster: Roster, book: LoadBook, now_s: float
) -> tuple[CortexError, str]:
    failure = book.latest_failure(model.id, without)
    if failure is not None:
        return refusal.load_failed(failure, book.retry_in_s(model.id, without, now_s)), failure.node
    if any(_serves(model, node) for node in model.replicas):
        return refusal.all_tried(model.id), ""
    if not roster.any_healthy():
        return refusal.no_healthy_node(roster.nodes.values()), ""
    if placements.may_come():
        return refusal.nobody_yet(model.id, placements), ""
    if model.profile is None:
        return refusal.vanished(model.id), ""
    return refusal.never_fits(model.id, placements), ""
