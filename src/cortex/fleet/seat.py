"""Looks at every node for one model, once and quickly: where it is, where it fits, where others would have to go.

What it finds are seats, sorted into classes, the best first. Those where others must go have a bound: nothing that is
worked out of such a seat is better. So of a thousand nodes only the few that can still win are worked out.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.clearance import Clearance, choose_victims
from cortex.fleet.device_choice import Offer, Pool, offer_of
from cortex.fleet.estimate import ALIKE_S, START_S, load_s, warmth
from cortex.fleet.eviction import Newcomer, Tenant
from cortex.fleet.fact import Facts
from cortex.fleet.memory import LEAVING, NodeMemory
from cortex.fleet.placement import has_it, in_order, lacking_label, rendezvous
from cortex.fleet.variant import profile_for
from cortex.fleet.view import NodeView
from cortex.residency.fit import even_share_mb

FREE, UNKNOWN, EVICT, NEVER_NOW, NEVER = range(5)
"""There is room; nobody knows; others must go; nobody can go now; not even the empty node would do."""

CLASSES = 8
"""Is loaded there; is loading there; on a node that it is pinned on there is room, nobody knows, others must go; the
same three on any other node."""
EVICTING = (4, 7)

Key = tuple[tuple[int, ...], int, int, bytes]
"""Within a class: ranks of victims, cost in whole seconds (less is noise), free memory negated, rendezvous. Less is
better."""


class Demand:
    """What a model asks of one harness's devices. ``need_mb`` None: nobody knows."""

    __slots__ = ("_ways", "need_mb", "served", "shape")

    def __init__(self, served: Profile, need_mb: int | None) -> None:
        self.served = served
        self.need_mb = need_mb
        self.shape = (need_mb, served.min_devices, served.min_device_vram_mb)
        """Two of the same shape fit the same way."""
        self._ways: dict[tuple[int, str, bool], tuple[tuple[int, int], ...]] = {}

    def ways(self, pool: Pool) -> tuple[tuple[int, int], ...]:
        """Return on how many devices of a pool it may go, each as the place of the last in order, and its share."""
        shape = (len(pool.by_books), pool.spread, pool.is_fixed)
        ways = self._ways.get(shape)
        if ways is None:
            counts = pool.counts(self.served.min_devices)
            ways = tuple([(count - 1, even_share_mb(self.need_mb or 0, count)) for count in counts])
            self._ways[shape] = ways
        return ways


class Seat(NamedTuple):
    """One node for one model, on the harness on which it does best there. ``load_s``, ``queue_s``: see ``plan``."""

    node: NodeView
    memory: NodeMemory
    offer: Offer
    demand: Demand
    fit: int
    free_mb: int
    report: InstanceReport | None
    load_s: float = 0.0
    queue_s: float = 0.0

    @property
    def pools(self) -> tuple[Pool, ...] | None:
        """The devices it may have there."""
        return self.offer.pools_for(self.demand.served)

    def clearance(self, candidates: Iterable[Tenant]) -> Clearance | None:
        """Return who of the candidates should go for it, and where that makes room."""
        served = self.demand.served
        need_mb = self.demand.need_mb or 0
        return choose_victims(self.pools or (), served.min_devices, need_mb, candidates, served.min_device_vram_mb)

    def key(self, model: str, ranks: tuple[int, ...] = (), price_s: float = 0.0) -> Key:
        """Return how good it is within its class."""
        if has_it(self.report):
            return (), 0, 0, rendezvous(self.node.name, model)
        free_mb = 0 if self.fit == EVICT else -self.free_mb
        return ranks, int(self.load_s + self.queue_s + price_s), free_mb, rendezvous(self.node.name, model)


class Seats:
    """What one look at all nodes found."""

    def __init__(self, newcomer: Newcomer, profile: Profile, facts: Facts, now_s: float) -> None:
        self.newcomer = newcomer
        self.now_s = now_s
        self.classes: list[list[Seat]] = [[] for _ in range(CLASSES)]
        """Where it could be loaded now, by class."""
        self.waits: list[Seat] = []
        """Where it could be loaded once something passes."""
        self.out: list[NodeView] = []
        """Where it cannot be, whatever passes, or which cannot be asked."""
        self._slowest_s: float | None = None
        self._profile = profile
        self._facts = facts
        self._need_mb = facts.need_mb(profile.id)
        self._demands: dict[tuple[str, str], Demand] = {}
        self._wanted: Sequence[str] | None = None
        self._demand: Demand | None = None
        if not profile.variants:  # the same everywhere
            self._wanted = in_order(profile, None)
            self._demand = Demand(profile, self._need_mb if profile.vram_mb is None else profile.vram_mb)

    def look(self, nodes: Iterable[NodeView]) -> None:
        """Take in all nodes."""
        profile, loads, closed = self._profile, self._facts.loads, {*self._facts.holds, *self._facts.drained}
        model, labels, pinned_on = profile.id, profile.labels, profile.pinned_on
        for node in nodes:
            memory = node.memory
            if memory is None or not node.is_healthy or (labels and lacking_label(profile, node)):
                self.out.append(node)
                continue
            name, report = node.name, memory.reports.get(model)
            if name in loads:
                memory = memory.beside(loads[name])
            seat = self._seat(node, memory, report)
            if seat is None:
                self.out.append(node)
            elif report is not None and has_it(report):
                self.classes[report.status == "loading"].append(seat)
            elif seat.fit == NEVER_NOW or name in closed or _is_closed(node, report):
                self.waits.append(seat)
            else:
                self.classes[(2 if name in pinned_on else 5) + seat.fit].append(seat)
            if report is not None and report.load_s is not None:
                self._slowest_s = max(self._slowest_s or 0.0, report.load_s)

    def bounds(self, seats: Sequence[Seat]) -> Iterator[tuple[Key, Seat]]:
        """Yield seats where others must go, each with a key that is no worse than that of anything made of it."""
        newcomer, now_s = self.newcomer, self.now_s
        least_s = ALIKE_S
        ranks: tuple[int, ...] = ()
        for seat in self.estimated(seats):
            coldest = seat.node.coldest
            idle_s = inf if coldest is None else max(now_s - coldest.worked_s, coldest.idle_s)
            if newcomer.strategy == "cost":
                least_s = START_S if coldest is None else min(coldest.load_s, START_S)
            elif newcomer.strategy == "priority":
                profiles = [self._facts.profile_of(report.id) for report in seat.memory.idle]
                ranks = (min([0 if profile is None else profile.priority for profile in profiles], default=0),)
            yield seat.key(newcomer.model, ranks, least_s * warmth(idle_s)), seat

    def estimated(self, seats: Iterable[Seat]) -> list[Seat]:
        """Return seats with how long a load would take there, and how long it would stand behind others."""
        loads, slowest_s = self._facts.loads, self._slowest_s
        made = []
        for node, memory, offer, demand, fit, free_mb, report, _, _ in seats:
            each_s = load_s(report, demand.need_mb, slowest_s)
            queue_s = each_s * (memory.loading + (len(loads[node.name]) if node.name in loads else 0))
            made.append(Seat(node, memory, offer, demand, fit, free_mb, report, each_s, queue_s))
        return made

    def _seat(self, node: NodeView, memory: NodeMemory, report: InstanceReport | None) -> Seat | None:
        """Return the best seat on a node over the harnesses that the profile allows, the first of equals."""
        best: Seat | None = None
        for wanted in self._wanted if self._wanted is not None else in_order(self._profile, report):
            offer: Offer | None = memory.offers[wanted] if wanted in memory.offers else _offer(wanted, node, memory)
            if offer is None:
                continue
            demand = self._demand if self._demand is not None else self._demand_on(offer)
            known = None if offer.is_shared else offer.fits.get(demand.shape)
            fit, free_mb = known or fit_of(offer.pools_for(demand.served), demand)
            if known is None and not offer.is_shared:
                offer.fits[demand.shape] = fit, free_mb
            if fit == EVICT and (node.coldest is None or node.coldest.safe_until_s > self.now_s):
                fit = NEVER_NOW
            if fit != NEVER and (best is None or fit < best.fit):
                best = Seat(node, memory, offer, demand, fit, free_mb, report)
        return best

    def _demand_on(self, offer: Offer) -> Demand:
        key = (offer.harness, offer.kind)
        if key not in self._demands:
            served = profile_for(self._profile, *key)
            self._demands[key] = Demand(served, self._need_mb if served.vram_mb is None else served.vram_mb)
        return self._demands[key]


def _offer(wanted: str, node: NodeView, memory: NodeMemory) -> Offer | None:
    return None if node.discovery is None else offer_of(wanted, node.discovery, memory)


def _is_closed(node: NodeView, report: InstanceReport | None) -> bool:
    if node.health is not None and node.health.maintenance:
        return True
    return report is not None and report.status in LEAVING


def fit_of(pools: tuple[Pool, ...] | None, demand: Demand) -> tuple[int, int]:
    """Return how a model fits on the devices of a harness, and how much is free on those that it would get."""
    if pools is None:
        return FREE, 0
    best, free_mb, floor_mb = NEVER, 0, demand.served.min_device_vram_mb
    is_known = demand.need_mb is not None
    for whole in pools:
        pool = whole if floor_mb <= whole.totals_mb[-1] else whole.of_floor(floor_mb)
        if pool is None:
            continue
        free, could_be, known = pool.free_mb, pool.could_be_mb, len(pool.free_mb) if is_known else 0
        for at, share_mb in demand.ways(pool):
            if at < known and free[at] >= share_mb:
                return FREE, sum(free[: at + 1])
            if best == UNKNOWN:
                continue
            if not is_known or (known < len(could_be) and pool.books_mb[at] >= share_mb):
                fit = UNKNOWN
            elif could_be[at] >= share_mb:
                fit = EVICT
            elif pool.totals_mb[at] - pool.memory.headroom_mb >= share_mb:
                fit = NEVER_NOW
            else:
                continue
            if fit < best:
                best, free_mb = fit, free_on(pool, at + 1)
    return best, free_mb


def free_on(pool: Pool, count: int) -> int:
    """Return what is known to be free on the emptiest devices."""
    known = [pool.memory.free_mb[device.index] for device in pool.by_books[:count]]
    return sum([free for free in known if free is not None])
