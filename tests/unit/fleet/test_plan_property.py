"""What holds of every plan, over fleets drawn from seeds; a failing seed is in the test's name."""

from collections.abc import Iterator
from itertools import chain, combinations
from random import Random

import pytest
from tests.unit.fleet.random_fleet import NOW_S, Drawn, draw

from cortex.fleet.clearance import Weight
from cortex.fleet.device_choice import Pool, offer_of
from cortex.fleet.eviction import Newcomer, Tenant, tenants_of
from cortex.fleet.memory import NodeMemory
from cortex.fleet.placement import rendezvous
from cortex.fleet.plan import Plan, Plans, plan_load
from cortex.fleet.view import NodeView
from cortex.residency.eviction import Admitted, Scene, Wish, judge
from cortex.residency.eviction import Tenant as NeuronTenant
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import TicketBook

SEEDS = range(10)
FLEETS_PER_SEED = 40


def fleets(seed: int, most_nodes: int = 6) -> Iterator[Drawn]:
    return (draw(seed * FLEETS_PER_SEED + number, most_nodes) for number in range(FLEETS_PER_SEED))


def plan(case: Drawn, nodes: list[NodeView] | None = None) -> Plans:
    return plan_load(case.profile, case.nodes if nodes is None else nodes, case.facts, case.strategy, NOW_S)


def memory_of(case: Drawn, node: NodeView) -> NodeMemory:
    assert node.memory is not None
    return node.memory.beside(case.facts.loads.get(node.name, ()))


def going(case: Drawn, made: Plan) -> list[Tenant]:
    (node,) = [node for node in case.nodes if node.name == made.placement.node]
    found = tenants_of(node, Newcomer.of(case.profile, case.strategy), case.facts, NOW_S)
    by_key = {tenant.key: tenant for tenant in found}
    assert all(by_key[victim.model_id].generation == victim.generation for victim in made.victims)
    return [by_key[victim.model_id] for victim in made.victims]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_has_room_on_its_devices_and_none_of_its_victims_could_stay(seed: int) -> None:
    for case in fleets(seed):
        by_name = {node.name: node for node in case.nodes}
        found = plan(case)
        for made in (*found.plans, *found.patient):
            placement = made.placement
            if placement.has_it or case.profile.vram_mb is None or not placement.devices:
                continue
            memory = memory_of(case, by_name[placement.node])
            gone = [victim.model_id for victim in made.victims]
            assert memory.has_room(case.profile.vram_mb, placement.devices, gone) is not False, case
            for kept in gone:
                rest = [model for model in gone if model != kept]
                assert memory.has_room(case.profile.vram_mb, placement.devices, rest) is False, (case, kept)
            if placement.fits_free is True:
                assert memory.has_room(case.profile.vram_mb, placement.devices) is True


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_goes_who_must_stay(seed: int) -> None:
    for case in fleets(seed):
        by_name = {node.name: node for node in case.nodes}
        for made in plan(case).plans:
            node = by_name[made.placement.node]
            assert node.is_healthy
            assert made.placement.has_it or node.name not in {*case.facts.holds, *case.facts.drained}
            for victim in made.victims:
                report, use = node.report_of(victim.model_id), case.facts.use_of(node.name, victim.model_id)
                profile = case.facts.profile_of(victim.model_id)
                assert report is not None
                assert (report.status, report.pinned, report.in_flight, report.silent_s) == ("loaded", False, 0, None)
                assert (report.protected_s, use.in_flight, use.waiting, report.waiting) == (0, 0, 0, 0)
                assert profile is None or node.name not in profile.pinned_on
                if case.strategy == "priority" and profile is not None:
                    assert profile.priority <= case.profile.priority
                assert victim.model_id not in [v for load in case.facts.loads.get(node.name, ()) for v in load.victims]


@pytest.mark.parametrize("seed", SEEDS)
def test_victims_are_the_least_loss_of_all_that_would_do(seed: int) -> None:
    met = 0
    for case in fleets(seed, most_nodes=1):
        (node,) = case.nodes
        found = plan(case)
        if not node.is_healthy or case.profile.vram_mb is None or case.profile.min_devices == 0:
            continue
        if (found.plans and not found.plans[0].victims) or found.rejected or {w.code for w in found.waits} & CLOSED:
            continue
        met += 1
        best = least_loss(case, node)
        if not found.plans:
            assert best is None, case
            continue
        weight = Weight()
        for tenant in sorted(going(case, found.plans[0]), key=lambda tenant: tenant.order):
            weight = weight.plus(tenant)
        assert best is not None, case
        assert weight.ranks == best.ranks, case
        assert weight.price_s == pytest.approx(best.price_s), case
    assert met, "no case of this seed says anything"


CLOSED = {"held", "maintenance", "leaving"}


def least_loss(case: Drawn, node: NodeView) -> Weight | None:
    """Try every set of victims on every set of devices, by the neuron's own arithmetic."""
    memory = memory_of(case, node)
    newcomer = Newcomer.of(case.profile, case.strategy)
    could_go = [tenant for tenant in tenants_of(node, newcomer, case.facts, NOW_S) if tenant.stays is None]
    assert case.profile.vram_mb is not None
    best: Weight | None = None
    for victims in chain.from_iterable(combinations(could_go, size) for size in range(len(could_go) + 1)):
        weight = Weight()
        for tenant in victims:
            weight = weight.plus(tenant)
        if best is not None and weight >= best:
            continue
        gone = [tenant.key for tenant in victims]
        if any(
            memory.has_room(case.profile.vram_mb, devices, gone) is not False for devices in sets(case, node, memory)
        ):
            best = weight
    return best


def sets(case: Drawn, node: NodeView, memory: NodeMemory) -> Iterator[tuple[int, ...]]:
    assert node.discovery is not None
    offer = offer_of("llamacpp", node.discovery, memory)
    assert offer is not None
    for whole in offer.pools or ():
        pool: Pool | None = whole.of_floor(case.profile.min_device_vram_mb)
        for count in pool.counts(case.profile.min_devices) if pool is not None else ():
            yield from combinations([device.index for device in whole.by_books if is_tall(case, device)], count)


def is_tall(case: Drawn, device: object) -> bool:
    return device.vram_total_mb >= case.profile.min_device_vram_mb  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("seed", SEEDS)
def test_plan_is_the_same_whatever_the_order_of_the_nodes(seed: int) -> None:
    for case in fleets(seed):
        shuffled = list(case.nodes)
        Random(seed).shuffle(shuffled)
        found, again = plan(case), plan(case, shuffled)
        assert (found.plans, found.patient, set(found.waits)) == (again.plans, again.patient, set(again.waits)), case
        assert {rejection.node for rejection in found.rejected} == {rejection.node for rejection in again.rejected}
        assert plan(case) == found


@pytest.mark.parametrize("seed", SEEDS)
def test_best_plan_is_the_best_of_those_that_each_node_would_have_alone(seed: int) -> None:
    for case in fleets(seed, most_nodes=12):
        slowest = [node.report_of("new") for node in case.nodes]
        if any(report is not None and report.load_s is not None for report in slowest):
            continue  # how long a load takes on one node is then guessed by what it took on another
        alone = [made for node in case.nodes for made in plan(case, [node]).plans]
        together = plan(case).plans
        alone.sort(key=lambda made: rank(case, made))
        assert [made.placement.node for made in together] == [made.placement.node for made in alone[:4]], case
        assert list(together) == alone[:4]


def rank(case: Drawn, made: Plan) -> tuple[object, ...]:
    placement = made.placement
    if placement.has_it:
        return (0, "loading" in made.why, rendezvous(placement.node, "new"))
    fit = 2 if made.victims else 0 if placement.fits_free else 1
    ranks = tuple(sorted((rank for tenant in going(case, made) for rank in tenant.ranks), reverse=True))
    cost_s = sum(value for _, value in made.terms)
    free_mb = 0 if made.victims else -(placement.free_mb or 0)
    return 1, not placement.is_pinned, fit, ranks, int(cost_s + 1e-6), free_mb, rendezvous(placement.node, "new")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_node_has_a_plan_an_obstacle_or_a_rejection(seed: int) -> None:
    for case in fleets(seed):
        for node in case.nodes:
            found = plan(case, [node])
            assert len(found.plans) + len(found.waits) + len(found.rejected) == 1, case
            assert len(found.patient) <= len(found.waits)
            code = found.waits[0].code if found.waits else ""
            assert code in ("busy", "loading", "protected") or not found.patient
            assert found.patient or code not in ("busy", "protected")


def test_neuron_that_is_as_it_was_last_heard_of_takes_the_plan_and_all_of_its_victims() -> None:
    met = 0
    for case in [case for seed in SEEDS for case in fleets(seed)]:
        by_name = {node.name: node for node in case.nodes}
        for made in plan(case).plans:
            node, placement = by_name[made.placement.node], made.placement
            if (
                placement.has_it
                or not placement.devices
                or case.profile.vram_mb is None
                or node.name in case.facts.loads
            ):
                continue
            wish = Wish(key="new", need_mb=case.profile.vram_mb, devices=placement.devices, victims=made.victims)
            verdict = judge(wish, scene_of(node), NOW_S)
            assert isinstance(verdict, Admitted), (verdict, case)
            assert sorted(verdict.victims) == sorted(victim.model_id for victim in made.victims)
            met += bool(made.victims)
    assert met > 20


def scene_of(node: NodeView) -> Scene:
    """Return a node as its neuron judges it."""
    memory = node.memory
    assert memory is not None
    book = ReservationBook(memory.headroom_mb)
    for resident in memory.residents:
        report = memory.reports[resident.key]
        book.adopt(report.id, report.declared_mb or 0, report.devices)
        if report.vram_used_mb is not None:
            book.measure(report.id, dict.fromkeys(report.devices, report.vram_used_mb // len(report.devices)))
    tenants = {
        report.id: NeuronTenant(
            generation=report.generation,
            status=report.status,
            is_pinned=report.pinned,
            protected_s=report.protected_s,
            in_flight=report.in_flight,
        )
        for report in node.models
    }
    return Scene(book, TicketBook(120.0), tuple(memory.rooms.values()), tenants)
