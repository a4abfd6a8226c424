"""Where to load a model: node, devices and victims chosen together, the best plans first, or what there is to wait for.

Ranked: has it already > pinned > fits free memory > nobody knows > others must go. Of equals the cheapest, in seconds:

``load_s``    until the model serves, by its last load there, else its slowest elsewhere, else its size;
``queue_s``   loads under way on the node come first and are taken to last as long: they share its disk;
``reload_s``  the loss of its victims, by the strategy (``eviction``);
``wait_s``    of a patient plan only: until its victims may go.

Then most free memory, then a hash of the names: the same on every gateway, in whatever order the nodes come. What no
plan is found for is told as an obstacle that passes, or as a rejection that lasts. A forecast; the neuron decides.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, nsmallest

import msgspec

from cortex.contract.instance import Victim
from cortex.contract.profile import Profile
from cortex.fleet.clearance import Clearance, Weight
from cortex.fleet.device_choice import DeviceChoice, choose_devices, chosen_of
from cortex.fleet.eviction import Newcomer, Strategy, Tenant, tenants_of
from cortex.fleet.fact import Facts
from cortex.fleet.obstacle import Obstacle, Stuck, idle, look_at
from cortex.fleet.placement import Placement, Placements, Rejection, find_holders, place, placement_on
from cortex.fleet.seat import EVICTING, Key, Seat, Seats
from cortex.fleet.view import NodeView

MOST_PLANS = 4
"""More than a request will ever try; nodes that are not to be tried are best left out beforehand."""
MOST_LOOKED_AT = 16
"""Of so many nodes where something must pass first it is worked out what: those with the most free memory."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Load there, on those devices, when the victims have gone. ``why``: a clause that continues "<node>: ".

    ``basis_start_id`` and ``basis_event``: the version of the node by which the victims were chosen, None without any.
    """

    placement: Placement
    victims: tuple[Victim, ...] = ()
    basis_event: int | None = None
    basis_start_id: str | None = None
    cost_s: float = 0.0
    terms: tuple[tuple[str, float], ...] = ()
    why: str = ""


class Plans(msgspec.Struct, frozen=True, kw_only=True):
    """The best plans first, at most ``MOST_PLANS``. The rest is worked out only where there is none.

    ``patient``: plans whose victims cannot go yet, best first: a neuron that is asked keeps the place in its queue.
    ``waits``: what stands in the way on nodes that could serve later, ``waits_left_out``: on how many more.
    """

    plans: tuple[Plan, ...] = ()
    patient: tuple[Plan, ...] = ()
    waits: tuple[Obstacle, ...] = ()
    waits_left_out: int = 0
    rejected: tuple[Rejection, ...] = ()

    def may_come(self) -> bool:
        """Tell whether a node that cannot serve now might do so later."""
        return bool(self.waits) or Placements((), self.rejected).may_come()


def plan_load(profile: Profile, nodes: Iterable[NodeView], facts: Facts, strategy: Strategy, now_s: float) -> Plans:
    """Return the best plans for a model of the catalogue, or what there is to wait for, or why there is no hope."""
    seats = Seats(Newcomer.of(profile, strategy), profile, facts, now_s)
    seats.look(nodes)
    plans, hopeless = best_plans(seats, facts, MOST_PLANS)
    if plans:
        return Plans(plans=tuple(plans))
    waits = [*seats.estimated(seats.waits), *hopeless]
    waits.sort(key=lambda seat: (seat.node.name not in profile.pinned_on, -seat.free_mb, seat.node.name))
    stuck = [look_at(seat, seats.newcomer, facts, now_s) for seat in waits[:MOST_LOOKED_AT]]
    return Plans(
        patient=tuple(_patient(stuck, seats.newcomer.model)),
        waits=tuple([found.obstacle for found in stuck]),
        waits_left_out=max(0, len(waits) - MOST_LOOKED_AT),
        rejected=tuple(rejections(profile, seats.out)),
    )


def plan_found(model: str, nodes: Iterable[NodeView], facts: Facts, strategy: Strategy, now_s: float) -> Plans:
    """Return the same for a model that the catalogue does not know: only nodes that report it know how to load it.

    They know on which devices too, so those are left open: a load that names nothing but the model is the same again.
    """
    named = {node.name: node for node in nodes}
    holders = find_holders(model, named.values())
    parts = [
        plan_load(profile_of(model, holder, facts), [named[holder.node]], facts, strategy, now_s)
        for holder in holders.valid
    ]
    plans = sorted([_left_open(plan) for part in parts for plan in part.plans], key=_rank)
    patient = sorted([_left_open(plan) for part in parts for plan in part.patient], key=_rank)
    return Plans(
        plans=tuple(plans[:MOST_PLANS]),
        patient=() if plans else tuple(patient[:MOST_PLANS]),
        waits=() if plans else tuple([wait for part in parts for wait in part.waits]),
        rejected=() if plans else (*holders.rejected, *[rejection for part in parts for rejection in part.rejected]),
    )


def profile_of(model: str, holder: Placement, facts: Facts) -> Profile:
    """Return a model that the catalogue does not know as if it stood there for one node that reports it."""
    pinned_on = (holder.node,) if holder.is_pinned else ()
    return Profile(id=model, harness=holder.harness, vram_mb=facts.need_mb(model), pinned_on=pinned_on)


def _left_open(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, placement=msgspec.structs.replace(plan.placement, devices=None))


def _rank(plan: Plan) -> tuple[bool, bool, bool, int, str]:
    placement = plan.placement
    return not placement.has_it, not placement.is_pinned, bool(plan.victims), int(plan.cost_s), placement.node


def best_plans(seats: Seats, facts: Facts, most: int) -> tuple[list[Plan], list[Seat]]:
    """Return the best plans, class by class, and the seats of which none could be made on the way."""
    plans: list[Plan] = []
    hopeless: list[Seat] = []
    for number, of_class in enumerate(seats.classes):
        left = most - len(plans)
        if not of_class or not left:
            continue
        if number in EVICTING:
            plans += _cleared(seats, of_class, facts, left, hopeless)
        else:
            model = seats.newcomer.model
            best = nsmallest(left, [(seat.key(model), at, seat) for at, seat in enumerate(seats.estimated(of_class))])
            plans += [plan_of(seat) for _, _, seat in best]
    return plans, hopeless


def _cleared(seats: Seats, of_class: list[Seat], facts: Facts, most: int, hopeless: list[Seat]) -> list[Plan]:
    """Work seats out where others must go, the most promising first, until nothing that is left can be better."""
    heap: list[tuple[Key, int, Seat, Clearance | None]] = [
        (bound, at, seat, None) for at, (bound, seat) in enumerate(seats.bounds(of_class))
    ]
    heapify(heap)
    plans: list[Plan] = []
    while heap and len(plans) < most:
        _, at, seat, clearance = heappop(heap)
        if clearance is not None:
            plans.append(plan_of(seat, clearance))
            continue
        found = _clearance(seat, seats.newcomer, facts, seats.now_s)
        if found is None:
            hopeless.append(seat)
        else:
            heappush(heap, (seat.key(seats.newcomer.model, *found.weight), at, seat, found))
    return plans


def _clearance(seat: Seat, newcomer: Newcomer, facts: Facts, now_s: float) -> Clearance | None:
    """Return who of those that can go now should."""
    return seat.clearance([tenant for tenant in tenants_of(seat.node, newcomer, facts, now_s) if tenant.stays is None])


def _patient(stuck: Iterable[Stuck], model: str) -> list[Plan]:
    def key(found: Stuck) -> tuple[bool, Key]:
        ranks, price_s = Weight() if found.clearance is None else found.clearance.weight
        return found.seat.node.name not in found.seat.demand.served.pinned_on, found.seat.key(
            model, ranks, price_s + found.wait_s
        )

    able = sorted([found for found in stuck if found.clearance is not None], key=key)
    return [plan_of(found.seat, found.clearance, found.wait_s) for found in able[:MOST_PLANS]]


def rejections(profile: Profile, nodes: Iterable[NodeView]) -> list[Rejection]:
    """Return why each of these nodes is out of the question."""
    rejected = []
    for node in nodes:
        found = place(profile, node)
        if isinstance(found, Placement):
            found = Rejection(node.name, "too_big", "is too small for what the model was seen to need")
        rejected.append(found)
    return rejected


def plan_of(seat: Seat, clearance: Clearance | None = None, wait_s: float = 0.0) -> Plan:
    """Return a seat as a plan, with who has to go for it."""
    chosen = _devices(seat, clearance)
    placement = placement_on(seat.node, seat.demand.served, seat.offer, chosen)
    if placement.has_it:
        status = seat.report.status if seat.report is not None else ""
        return Plan(placement=placement, why=f"has it {status} already")
    terms = {"load_s": seat.load_s, "queue_s": seat.queue_s}
    if clearance is not None:
        terms |= {"reload_s": clearance.weight.price_s} | ({"wait_s": wait_s} if wait_s else {})
    victims = () if clearance is None else clearance.victims
    return Plan(
        placement=placement,
        victims=tuple([Victim(model_id=tenant.key, generation=tenant.generation) for tenant in victims]),
        basis_event=seat.node.event if victims and seat.node.start_id else None,
        basis_start_id=seat.node.start_id if victims and seat.node.start_id else None,
        cost_s=round(sum(terms.values()), 3),
        terms=tuple([(name, round(value, 3)) for name, value in terms.items() if value]),
        why=_why(chosen, victims),
    )


def _devices(seat: Seat, clearance: Clearance | None) -> DeviceChoice:
    pools = seat.pools
    if pools is None:
        return DeviceChoice((), True)
    if clearance is not None:
        return chosen_of(pools[0], clearance.devices, fits_free=False)
    served = msgspec.structs.replace(seat.demand.served, vram_mb=seat.demand.need_mb)
    chosen = choose_devices(served, seat.offer)
    return chosen if isinstance(chosen, DeviceChoice) else DeviceChoice((), None)


def _why(chosen: DeviceChoice, victims: Iterable[Tenant]) -> str:
    where = " and ".join([str(index) for index in chosen.devices])
    on = f" on device{'s' if len(chosen.devices) > 1 else ''} {where}" if where else ""
    if gone := [f"{tenant.key} ({idle(tenant)})" for tenant in victims]:
        return f"has room{on} once {' and '.join(gone)} {'has' if len(gone) == 1 else 'have'} gone"
    if chosen.fits_free is None:
        return f"may have room{on}, nobody knows"
    return f"has room{on}" if where else "has what it takes, which is no device"
