"""A steward and a toy fleet over hours: nodes die, stewards change in the middle of a move, traffic comes and goes."""

import pytest
from tests.simulation.seed import seeds
from tests.unit.fleet.toy_fleet import DRAIN_S, LOAD_S, RULES, ToyFleet, some_profiles

from cortex.fleet.steward import Steward

SEEDS = seeds(12)


def a_busy_fleet(seed: int) -> ToyFleet:
    fleet = ToyFleet(seed, some_profiles(), [4000, 3000, 3000, 2000])
    fleet.rates |= {"kept": 0.05, "grows": 0.25, "first": 0.02, "plain": 0.03}
    return fleet


@pytest.mark.seeds
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_one_move_at_a_time_and_never_the_last_place_of_what_is_in_use(seed: int) -> None:
    fleet = a_busy_fleet(seed)
    for _ in range(80):
        fleet.run(fleet.now_s + fleet.rng.uniform(5, 40))
        befall(fleet)
    for one in fleet.nodes.values():
        one.is_up, one.maintenance = True, False
    fleet.rates = dict.fromkeys(fleet.rates, 0.02)
    fleet.run(fleet.now_s + 2400)
    fleet.rates = dict.fromkeys(fleet.rates, 0.0)
    fleet.run(fleet.now_s + 1500)
    assert len(fleet.up("kept")) >= 2
    assert not any(fleet.waiting.values())
    assert fleet.served > 200


def befall(fleet: ToyFleet) -> None:
    """Have something happen to a node or to the steward."""
    one = fleet.rng.choice(list(fleet.nodes.values()))
    what = fleet.rng.randrange(6)
    if what == 0 and sum(node.is_up for node in fleet.nodes.values()) > 2:
        fleet.die(one)
    elif what == 1:
        one.is_up = True
    elif what == 2:
        one.maintenance = not one.maintenance
    elif what == 3:
        fleet.steward = Steward(RULES)
    elif what == 4:
        one.cycles += 3
    else:
        model = fleet.rng.choice(list(fleet.rates))
        fleet.rates[model] = fleet.rng.choice([0.0, 0.02, 0.1, 0.3])


@pytest.mark.seeds
@pytest.mark.parametrize("seed", SEEDS)
def test_under_steady_traffic_nothing_comes_and_goes(seed: int) -> None:
    fleet = a_busy_fleet(seed)
    fleet.run(1500)
    settled_s = fleet.now_s
    fleet.run(settled_s + 3000)
    later = [(at_s, advice.kind, advice.model) for at_s, advice in fleet.taken if at_s > settled_s]
    swings = [entry for entry in later if entry[1] == "unload"]
    assert len(swings) <= 3000 / (RULES.scale_idle_s + RULES.scale_after_s), later


def test_traffic_that_ends_leaves_the_least_number_of_replicas() -> None:
    fleet = a_busy_fleet(1)
    fleet.run(900)
    assert len(fleet.up("grows")) > 1
    fleet.rates = dict.fromkeys(fleet.rates, 0.0)
    fleet.run(fleet.now_s + 3 * RULES.scale_idle_s)
    assert (len(fleet.up("grows")), len(fleet.up("kept"))) == (1, 2)


def test_nodes_are_cleared_under_traffic_one_after_the_other() -> None:
    fleet = a_busy_fleet(2)
    fleet.run(600)
    for one in fleet.nodes.values():
        one.maintenance = True
        fleet.run(fleet.now_s + 6 * (LOAD_S + DRAIN_S))
        assert not one.models
        one.maintenance = False
    assert {advice.node for _, advice in fleet.taken if "in maintenance" in advice.reason} == set(fleet.nodes)


def test_a_worn_harness_is_restarted_under_traffic() -> None:
    fleet = a_busy_fleet(3)
    fleet.run(600)
    busiest = max(fleet.nodes.values(), key=lambda one: len(one.models))
    busiest.cycles = RULES.defrag_after_cycles
    fleet.run(fleet.now_s + 1200)
    assert any(advice.kind == "restart" and advice.node == busiest.name for _, advice in fleet.taken)
    assert busiest.cycles < RULES.defrag_after_cycles
