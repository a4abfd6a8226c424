"""What to do for a model that somebody waits for and no replica can serve: load it somewhere, wait, or refuse.

1. while not every node has been asked since start: wait;
2. a node that may be tried (not in back-off, not tried for these requests, without a replica): load there, the best
   plan first; at most ``MAX_TRIES`` nodes for the same requests;
3. nodes whose room others use for now: ask the node all the same, which keeps the order of those who wait; or wait
   until it may be asked again; or wait for a node that has the model and may be back soon, or one that is to give more
   than its engine ran out of;
4. nodes that could, but failed lately: refuse with the last cause; where it was an accident (an engine that somebody
   killed), those who have the patience wait until that node may be tried once more;
5. nodes that could, but have a replica that failed these very requests: refuse;
6. no node is healthy: refuse;
7. nodes whose room is taken for good (pinned, strangers): refuse for now;
8. nodes that could, but are not healthy or not known yet: refuse for now;
9. no node can ever: refuse for good.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest, Victim
from cortex.contract.profile import Profile
from cortex.fleet import refusal
from cortex.fleet.eviction import Strategy
from cortex.fleet.knowledge import Knowledge
from cortex.fleet.load_book import CAPACITY_CODES, OUTDATED_CODES, Failure, LoadBook
from cortex.fleet.memory import HOLDING
from cortex.fleet.model import Claim, Model, Wish
from cortex.fleet.obstacle import ObstacleCode
from cortex.fleet.placement import Placement, Placements, find_holders, find_valid_placements
from cortex.fleet.plan import Plan, Plans, plan_found, plan_load
from cortex.fleet.revision import revision_of
from cortex.fleet.roster import Roster
from cortex.fleet.variant import profile_for

MAX_TRIES = 2
PASSING_BY: frozenset[ObstacleCode] = frozenset({"busy", "loading", "protected", "leaving", "promised"})
"""What passes by itself, so that those who wait go on waiting."""
STRANGERS_S = 8.0
"""Longer than a node takes from one sample to the next: what was in use a moment ago may be nobody's by now."""
MAX_REFUSALS = 5
"""So often a node may say that it has no room, without saying when to ask again, before it is believed."""


class Refusal(msgspec.Struct, frozen=True):
    """Nothing can be done; ``node`` is the one to blame, empty for none."""

    error: CortexError
    node: str = ""


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done yet; it is looked at again. ``ask``: nodes whose newest sample would settle it."""

    ask: tuple[str, ...] = ()
    until_s: float = 0.0
    otherwise: Refusal | None = None
    """What those are told whose patience ends before ``until_s``, when it can be tried again."""


class Load(msgspec.Struct, frozen=True):
    """Load there. ``is_first``: no node is known to have the model."""

    node: str
    request: LoadRequest
    reason: str = ""
    is_first: bool = False


def takes(claim: Claim, plan: Plan) -> bool:
    """Tell whether a plan would take what somebody waits for."""
    placement = plan.placement
    is_apart = placement.devices and claim.devices.isdisjoint(placement.devices) and claim.devices
    return placement.node == claim.node and not is_apart


class LoadChoice:
    """Chooses for one model at a time."""

    def __init__(self, roster: Roster, book: LoadBook, models: Mapping[str, Model]) -> None:
        self._roster = roster
        self._book = book
        self._models = models

    def choose(
        self,
        model: Model,
        *,
        strategy: Strategy,
        is_settled: bool,
        now_s: float,
        wish: Wish | None = None,
        taken: Collection[Claim] = (),
    ) -> Load | Wait | Refusal:
        """Decide by the list above, for who waits or for a wish.

        ``is_settled``: every node has been asked, or was given long enough. ``taken``: what models wait for whose turn
        is before this one's.
        """
        if not is_settled:
            return Wait()
        plans = self._plan(model, wish, strategy, now_s)
        if wish is not None or (len(model.tried) < MAX_TRIES and _may_grow(model)):
            spares = wish is None and self._may_return(model, now_s)
            for plan in (*plans.plans, *plans.patient):
                is_held = self._book.is_held(plan.placement.node, model.id, now_s)
                is_held |= spares and bool(plan.victims)
                if not is_held and not any(takes(claim, plan) for claim in taken):
                    return self._load(model, plan)
        return self._why_not(model, plans, now_s)

    def _plan(self, model: Model, wish: Wish | None, strategy: Strategy, now_s: float) -> Plans:
        """Plan for all nodes on which it could be tried; of those where it fails the book tells."""
        nodes = [node for node in self._roster.nodes.values() if self._may_try(model, node.name, wish)]
        facts = Knowledge(model.id, self._models, self._book, now_s)
        profile = model.profile
        if profile is None:
            return plan_found(model.id, nodes, facts, strategy, now_s)
        enlarged = [node for node in nodes if node.name in model.enlarged]
        others = [node for node in nodes if node.name not in model.enlarged]
        parts = [plan_load(sized(model, profile, node.name), [node], facts, strategy, now_s) for node in enlarged]
        return joined([*parts, plan_load(sized(model, profile), others, facts, strategy, now_s)])

    def _may_try(self, model: Model, node: str, wish: Wish | None) -> bool:
        if wish is not None and wish.node not in (None, node):
            return False
        is_tried = wish is None and node in model.tried
        return not (
            is_tried or _is_outdated_on(model, node) or _serves(model, node) or self._book.is_under_way(node, model.id)
        )

    def _may_return(self, model: Model, now_s: float) -> bool:
        """Tell whether a node may be back soon on which only slots are missing, so that nobody need go elsewhere.

        A neuron that is restarted goes on where it was; one that is gone is waited for no longer than the lease.
        """
        desks = self._roster.desks
        return any(
            replica.is_cut_off
            and replica.slots == 0
            and now_s < min(replica.trusted_until_s, desks[node].lease_ends_s(model.id, replica.generation))
            for node, replica in model.replicas.items()
        )

    def _load(self, model: Model, plan: Plan) -> Load:
        model.shut_since_s = None
        profile = None if model.profile is None else sized(model, model.profile, plan.placement.node)
        request = load_request(model.id, profile, plan.placement, plan.victims)
        if plan.victims:
            basis = {"basis_event": plan.basis_event, "basis_start_id": plan.basis_start_id}
            request = msgspec.structs.replace(request, **basis)
        return Load(plan.placement.node, request, plan.why, self._is_first(model))

    def _is_first(self, model: Model) -> bool:
        reports = (node.report_of(model.id) for node in self._roster.nodes.values())
        return not any(report is not None and report.status in HOLDING for report in reports)

    def _why_not(self, model: Model, plans: Plans, now_s: float) -> Wait | Refusal:
        """Wait for what passes by itself; else refuse, with the best reason that is known."""
        nodes = {plan.placement.node for plan in (*plans.plans, *plans.patient)} | set(model.tried)
        nodes |= {obstacle.node for obstacle in plans.waits}
        nodes = {node for node in nodes if self._roster.nodes[node].is_healthy}
        failure = self._book.latest_failure(model.id, nodes)
        is_passing = any(obstacle.code in PASSING_BY for obstacle in plans.waits)
        is_passing |= any(replica.is_outdated for replica in model.replicas.values()) or self._may_return(model, now_s)
        if failure is None:
            return Wait() if is_passing else self._why_never(model, plans, now_s)
        if failure.code in CAPACITY_CODES:
            will_try = {plan.placement.node for plan in (*plans.plans, *plans.patient)}
            will_try |= {obstacle.node for obstacle in plans.waits if obstacle.code == "held"}
            if is_passing or self._is_worth_waiting(model, will_try):
                return Wait()
            if not will_try:
                return self._why_never(model, plans, now_s)
        elif self._has_another_turn(model, plans, nodes):
            return Wait()
        refused = self._last_cause(model, failure, nodes, now_s)
        return self._once_more(model, plans, refused) or refused

    def _once_more(self, model: Model, plans: Plans, refused: Refusal) -> Wait | None:
        """Wait for the node on which a load ended by an accident, if it may still be tried again."""
        accident = self._book.failure_of(model.spared, model.id)
        if accident is None or len(model.tried) >= MAX_TRIES or not _may_grow(model):
            return None
        possible = [plan.placement.node for plan in (*plans.plans, *plans.patient)]
        possible += [obstacle.node for obstacle in plans.waits if obstacle.code in {"held", *PASSING_BY}]
        return Wait(until_s=accident.until_s, otherwise=refused) if model.spared in possible else None

    def _last_cause(self, model: Model, latest: Failure, nodes: Collection[str], now_s: float) -> Refusal:
        """Refuse with the latest failure that still keeps a node from being tried: it says when to come back.

        One whose back-off is over says nothing any more of a node where something else is in the way by now.
        """
        book = self._book
        telling = {node for node in nodes if node in model.tried or book.is_held(node, model.id, now_s)}
        failure = book.latest_failure(model.id, telling) or latest
        retry_in_s = book.retry_in_s(model.id, telling or nodes, now_s)
        return Refusal(refusal.load_failed(failure, retry_in_s), failure.node)

    def _is_worth_waiting(self, model: Model, nodes: Collection[str]) -> bool:
        """Tell whether a node that refused for now may still do it; not after it has said so again and again.

        That this gateway knew too little of it says nothing of what it can do.
        """
        failures = [self._book.failure_of(node, model.id) for node in nodes]
        return any(
            failure is None
            or failure.is_promised
            or failure.code in OUTDATED_CODES
            or failure.count - failure.outdated < MAX_REFUSALS
            for failure in failures
        )

    def _has_another_turn(self, model: Model, plans: Plans, nodes: Collection[str]) -> bool:
        """Tell whether one more node may be tried after a failure: it has only said to ask again later, or it is to
        give more room than its engine ran out of, which the last sample does not show yet.
        """
        if len(model.tried) >= MAX_TRIES or not _may_grow(model):
            return False
        if any(obstacle.node in model.enlarged and obstacle.code in PASSING_BY for obstacle in plans.waits):
            return True
        told = {obstacle.node for obstacle in plans.waits if obstacle.code == "held"} & set(nodes)
        failures = {node: self._book.failure_of(node, model.id) for node in told}
        put_off = [node for node, failure in failures.items() if failure is not None and failure.code in CAPACITY_CODES]
        return bool(put_off) and self._is_worth_waiting(model, put_off)

    def _why_never(self, model: Model, plans: Plans, now_s: float) -> Wait | Refusal:
        if any(_serves(model, node) for node in model.replicas):
            return Refusal(refusal.all_tried(model.id))
        if not self._roster.any_healthy():
            return Refusal(refusal.no_healthy_node(self._roster.nodes.values()))
        if plans.plans or plans.patient:
            return Wait()  # somebody else's turn, or a limit on replicas
        if plans.waits:
            return self._shut_out(model, plans, now_s)
        placements = self._placements(model)
        if placements.valid or placements.may_come():
            # It may have been seen to need more than it says.
            rejected = {rejection.node: rejection for rejection in (*plans.rejected, *placements.rejected)}
            return Refusal(refusal.nobody_yet(model.id, Placements(rejected=tuple(rejected.values()))))
        if model.profile is None:
            return Refusal(refusal.vanished(model.id))
        return Refusal(refusal.never_fits(model.id, placements))

    def _shut_out(self, model: Model, plans: Plans, now_s: float) -> Wait | Refusal:
        """Refuse for want of room. Strangers must have been there for a while: a sample may be of a moment before."""
        if model.shut_since_s is None:
            model.shut_since_s = now_s
        strangers = tuple(obstacle.node for obstacle in plans.waits if obstacle.code == "strangers")
        if strangers and now_s - model.shut_since_s < STRANGERS_S:
            return Wait(ask=strangers)
        if all(obstacle.code == "maintenance" for obstacle in plans.waits):
            return Refusal(refusal.all_in_maintenance(model.id, (obstacle.node for obstacle in plans.waits)))
        return Refusal(refusal.no_room(model.id, {obstacle.node: obstacle.reason for obstacle in plans.waits}))

    def _placements(self, model: Model) -> Placements:
        """Return where the model could ever be, nodes included that are not to be tried now."""
        nodes = self._roster.nodes.values()
        return find_holders(model.id, nodes) if model.profile is None else find_valid_placements(model.profile, nodes)


def sized(model: Model, profile: Profile, node: str = "") -> Profile:
    """Return a model's profile with what it was seen to need, where that is more than it says.

    Where it says nothing the neuron estimates it, unless an engine has run out of memory with that on ``node``.
    """
    enlarged_mb = model.enlarged.get(node)
    if enlarged_mb is not None:
        return msgspec.structs.replace(profile, vram_mb=enlarged_mb)
    if profile.vram_mb is None or model.learnt_mb <= profile.vram_mb:
        return profile
    return msgspec.structs.replace(profile, vram_mb=model.learnt_mb)


def joined(parts: Sequence[Plans]) -> Plans:
    """Return several plans of different nodes as one; those that can be now come first, whatever part they are of."""
    if len(parts) == 1:
        return parts[0]
    return Plans(
        plans=tuple(plan for part in parts for plan in part.plans),
        patient=tuple(plan for part in parts for plan in part.patient),
        waits=tuple(obstacle for part in parts for obstacle in part.waits),
        waits_left_out=sum(part.waits_left_out for part in parts),
        rejected=tuple(rejection for part in parts for rejection in part.rejected),
    )


def load_request(
    model: str,
    profile: Profile | None,
    placement: Placement,
    evict: tuple[Victim, ...] = (),
    steward: int | None = None,
) -> LoadRequest:
    """Return what a neuron must know to load a model: all that the catalogue says for there, and the chosen devices.

    A model that the steward keeps is not unloaded for being idle: the steward would only load it again.
    """
    if profile is None:
        return LoadRequest(model_id=model, harness=placement.harness, evict=evict, steward=steward)
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
        idle_unload_s=None if profile.preload or profile.min_replicas else profile.idle_unload_s,
        min_residency_s=profile.min_residency_s,
        pinned=placement.is_pinned,
        revision=revision_of(profile),
        evict=evict,
        steward=steward,
    )


def _serves(model: Model, node: str) -> bool:
    replica = model.replicas.get(node)
    return replica is not None and replica.is_serving and not replica.is_outdated


def _is_outdated_on(model: Model, node: str) -> bool:
    """Tell whether an older revision of the model has to leave a node first."""
    replica = model.replicas.get(node)
    return replica is not None and replica.is_outdated


def _may_grow(model: Model) -> bool:
    limit = model.profile.max_replicas if model.profile is not None else None
    return limit is None or sum(replica.is_serving for replica in model.replicas.values()) < limit
