"""For every node, why a model would be loaded there or not: on which devices, what is missing there, and who would go.

What is told is what ``plan`` works out, for all nodes and not only the best ones; nothing is decided here and nothing
is done. Slower than a plan, and meant for people.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cortex.contract.instance import InstanceStatus
from cortex.contract.profile import Profile
from cortex.fleet.eviction import Newcomer, Strategy, tenants_of
from cortex.fleet.fact import Facts
from cortex.fleet.memory import NodeMemory
from cortex.fleet.obstacle import ObstacleCode, Stuck, look_at, stays
from cortex.fleet.placement import PASSING, Placement, Rejection, RejectionCode, find_holders
from cortex.fleet.plan import Plan, best_plans, profile_of, rejections
from cortex.fleet.seat import Seat, Seats
from cortex.fleet.view import NodeView

Verdict = Literal["has_it", "fits", "may_fit", "evicts", "waits", "cannot_now", "never"]


class DeviceNote(msgspec.Struct, frozen=True, kw_only=True):
    """One device. ``need_mb``: of the model's share, null where it would not go; ``free_mb`` null: nobody knows."""

    index: int
    name: str
    total_mb: int
    free_mb: int | None = None
    strangers_mb: int | None = None
    need_mb: int | None = None
    missing_mb: int = 0


class InstanceNote(msgspec.Struct, frozen=True, kw_only=True):
    """One instance that holds memory there, whether it would go, and why it would or would not."""

    model: str
    status: InstanceStatus
    devices: tuple[int, ...]
    held_mb: int
    idle_s: float | None
    goes: bool
    why: str


class NodeNote(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``rank`` from 1 for those with a plan, in the order in which they would be tried.

    ``code`` says what is in the way where there is no plan; ``cost_s`` and its ``terms`` are a plan's.
    """

    node: str
    verdict: Verdict
    why: str
    rank: int | None = None
    code: ObstacleCode | RejectionCode | None = None
    harness: str | None = None
    cost_s: float | None = None
    terms: dict[str, float] = {}
    retry_in_s: float | None = None
    devices: tuple[DeviceNote, ...] = ()
    instances: tuple[InstanceNote, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes, those with a plan first. ``need_mb`` null: nobody knows what the model needs."""

    model: str
    strategy: Strategy
    priority: int
    need_mb: int | None
    nodes: tuple[NodeNote, ...]


def explain(profile: Profile, nodes: Iterable[NodeView], facts: Facts, strategy: Strategy, now_s: float) -> Explanation:
    """Return for every node why a model of the catalogue would be loaded there or not."""
    seats = Seats(Newcomer.of(profile, strategy), profile, facts, now_s)
    views = {node.name: node for node in nodes}
    seats.look(views.values())
    plans, hopeless = best_plans(seats, facts, len(views))
    waits = [look_at(seat, seats.newcomer, facts, now_s) for seat in (*seats.estimated(seats.waits), *hopeless)]
    teller = _Teller(seats, views, facts)
    notes = [teller.planned(plan, rank) for rank, plan in enumerate(plans, start=1)]
    notes += [teller.stuck(found) for found in waits]
    notes += [teller.rejected(rejection) for rejection in rejections(profile, seats.out)]
    need_mb = facts.need_mb(profile.id) if profile.vram_mb is None else profile.vram_mb
    return Explanation(
        model=profile.id, strategy=strategy, priority=profile.priority, need_mb=need_mb, nodes=tuple(notes)
    )


def explain_found(model: str, nodes: Iterable[NodeView], facts: Facts, strategy: Strategy, now_s: float) -> Explanation:
    """Return the same for a model of which the catalogue knows nothing: only who has had it can load it."""
    views = {node.name: node for node in nodes}
    found = find_holders(model, views.values())
    notes = []
    for holder in found.valid:
        profile = profile_of(model, holder, facts)
        notes += [(holder, note) for note in explain(profile, [views[holder.node]], facts, strategy, now_s).nodes]
    planned = sorted([(holder, note) for holder, note in notes if note.rank is not None], key=_found_rank)
    told = [msgspec.structs.replace(note, rank=rank) for rank, (_, note) in enumerate(planned, start=1)]
    told += [note for _, note in notes if note.rank is None]
    told += [
        NodeNote(node=rejection.node, verdict="cannot_now", why=rejection.reason, code=rejection.code)
        for rejection in found.rejected
    ]
    known = {note.node for note in told}
    told += [
        NodeNote(node=name, verdict="never", why="does not list it, and the catalogue does not know how to load it")
        for name in views
        if name not in known
    ]
    return Explanation(model=model, strategy=strategy, priority=0, need_mb=facts.need_mb(model), nodes=tuple(told))


def _found_rank(found: tuple[Placement, NodeNote]) -> tuple[bool, bool, bool, int, str]:
    """As ``plan_found`` ranks its plans."""
    holder, note = found
    return note.verdict != "has_it", not holder.is_pinned, note.verdict == "evicts", int(note.cost_s or 0), note.node


class _Teller:
    """Puts what was worked out of a node into notes."""

    def __init__(self, seats: Seats, views: dict[str, NodeView], facts: Facts) -> None:
        self._newcomer, self._now_s = seats.newcomer, seats.now_s
        self._views, self._facts = views, facts
        looked_at = (*seats.waits, *[seat for of_class in seats.classes for seat in of_class])
        self._seats = {seat.node.name: seat for seat in looked_at}

    def planned(self, plan: Plan, rank: int) -> NodeNote:
        """Return the note on a node with a plan."""
        placement, gone = plan.placement, {victim.model_id for victim in plan.victims}
        seat = self._seats[placement.node]
        fits: Verdict = "evicts" if gone else "may_fit" if placement.fits_free is None else "fits"
        return NodeNote(
            node=placement.node,
            verdict="has_it" if placement.has_it else fits,
            why=plan.why,
            rank=rank,
            harness=placement.harness,
            cost_s=plan.cost_s,
            terms=dict(plan.terms),
            devices=self._devices(seat, () if placement.has_it else placement.devices or ()),
            instances=self._instances(placement.node, gone),
        )

    def stuck(self, found: Stuck) -> NodeNote:
        """Return the note on a node where something is in the way."""
        obstacle, seat = found.obstacle, found.seat
        at = () if found.clearance is None else tuple([device.index for device in found.clearance.devices])
        return NodeNote(
            node=obstacle.node,
            verdict="waits",
            why=obstacle.reason,
            code=obstacle.code,
            harness=seat.offer.harness,
            retry_in_s=obstacle.retry_in_s,
            devices=self._devices(seat, at),
            instances=self._instances(obstacle.node, set(obstacle.victims)),
        )

    def rejected(self, rejection: Rejection) -> NodeNote:
        """Return the note on a node that is out of the question."""
        return NodeNote(
            node=rejection.node,
            verdict="cannot_now" if rejection.code in PASSING else "never",
            why=rejection.reason,
            code=rejection.code,
            devices=_device_notes(self._views[rejection.node], None, {}),
            instances=self._instances(rejection.node, set()),
        )

    def _devices(self, seat: Seat, at: Sequence[int]) -> tuple[DeviceNote, ...]:
        need_mb = seat.demand.need_mb
        verdicts = () if need_mb is None or not at else seat.memory.judge(need_mb, at).devices
        needs = {verdict.index: (verdict.need_mb, verdict.missing_mb) for verdict in verdicts}
        return _device_notes(seat.node, seat.memory, needs)

    def _instances(self, node: str, goes: set[str]) -> tuple[InstanceNote, ...]:
        view = self._views[node]
        found = tenants_of(view, self._newcomer, self._facts, self._now_s)
        reports = {} if view.memory is None else view.memory.reports
        return tuple(
            InstanceNote(
                model=tenant.key,
                status=reports[tenant.key].status,
                devices=reports[tenant.key].devices,
                held_mb=sum(tenant.held_mb.values()),
                idle_s=tenant.idle_s,
                goes=tenant.key in goes,
                why=stays(tenant),
            )
            for tenant in found
        )


def _device_notes(
    node: NodeView, memory: NodeMemory | None, needs: dict[int, tuple[int, int]]
) -> tuple[DeviceNote, ...]:
    memory = memory or node.memory
    if node.discovery is None or memory is None:
        return ()
    notes = []
    for device in node.discovery.devices:
        need_mb, missing_mb = needs.get(device.index, (None, 0))
        note = DeviceNote(
            index=device.index,
            name=device.name,
            total_mb=device.vram_total_mb,
            free_mb=memory.free_mb[device.index],
            strangers_mb=memory.rooms[device.index].strangers_mb,
            need_mb=need_mb,
            missing_mb=missing_mb,
        )
        notes.append(note)
    return tuple(notes)
