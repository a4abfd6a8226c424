"""Whole fleets: real dispatchers against real neurons, with everything going wrong that can.

``make sim SEEDS=2000`` plays more. A failure names its seed, which is played again, and printed, by
``python -m cortex.testing.fleet_simulation --seed N --trace``.
"""

import os
import re

import pytest
from tests.simulation.fleet_defect import PLANTED, PlantedBug, name_of
from tests.simulation.fleet_weather import fleet_in
from tests.simulation.seed import seeds

from cortex.testing.fleet_simulation import FleetOutcome, FleetSimulation
from cortex.testing.fleet_wire import FleetTrouble
from cortex.testing.referee import SimulationFailure

SEEDS = int(os.environ.get("SEEDS", "300"))
SEEDS_HERE = max(4, SEEDS // 30 if SEEDS <= 300 else SEEDS)
"""A fleet is a hundred times as much as the smaller simulations; asked for many seeds, it plays as many."""
SEEDS_TO_CATCH_A_BUG = 60


def play(seed: int, weather: str = "usual") -> FleetOutcome:
    try:
        return fleet_in(weather, seed).run()
    except SimulationFailure as failure:
        again = f"python -m cortex.testing.fleet_simulation --seed {seed} --trace"
        hint = {"usual": again, "service": f"{again} --service"}.get(weather, f"fleet_in({weather!r}, {seed}).run()")
        pytest.fail(f"seed {seed}: {failure}\n{hint}", pytrace=False)


@pytest.mark.seeds
def test_no_schedule_breaks_an_invariant() -> None:
    outcomes = [play(seed) for seed in seeds(SEEDS_HERE)]
    assert sum(outcome.sends for outcome in outcomes) > 20 * SEEDS_HERE, "a fleet that serves nobody proves nothing"
    assert sum(outcome.evictions for outcome in outcomes) > SEEDS_HERE // 2
    assert sum(outcome.drains for outcome in outcomes) > SEEDS_HERE
    assert sum(outcome.fates for outcome in outcomes) > 8 * SEEDS_HERE


@pytest.mark.seeds
def test_no_schedule_in_which_nodes_are_taken_out_of_service_breaks_an_invariant() -> None:
    outcomes = [play(seed, "service") for seed in seeds(SEEDS_HERE // 2)]
    assert sum(outcome.unloads for outcome in outcomes) > SEEDS_HERE // 4, (
        "a steward that clears nothing proves nothing"
    )


@pytest.mark.seeds
def test_no_schedule_in_which_engines_die_of_requests_breaks_an_invariant() -> None:
    outcomes = [play(seed, "crashes") for seed in seeds(SEEDS_HERE // 2)]
    assert sum(outcome.retries for outcome in outcomes) > SEEDS_HERE, "a fleet that sends nothing twice proves nothing"
    assert sum(outcome.bans for outcome in outcomes) > SEEDS_HERE // 2


@pytest.mark.seeds
@pytest.mark.parametrize("nodes", [20, 50])
def test_no_schedule_of_a_large_fleet_breaks_an_invariant(nodes: int) -> None:
    for seed in seeds(max(1, SEEDS // 300)):
        outcome = play(seed, f"{nodes} nodes")
        assert outcome.nodes == nodes
        assert outcome.sends > 5 * nodes


@pytest.mark.seeds
def test_no_schedule_in_which_clients_stop_reading_breaks_an_invariant() -> None:
    """They stop for longer than a load takes, or for good; whoever reads nothing for too long is closed."""
    count = max(2, SEEDS_HERE // 4)
    outcomes = [play(seed, "stalls") for seed in seeds(count)]
    assert sum(outcome.ended.get("unread", 0) for outcome in outcomes) > count // 2
    assert sum(outcome.drains for outcome in outcomes) > count // 2


@pytest.mark.seeds
def test_no_schedule_in_which_memory_is_kept_breaks_an_invariant() -> None:
    """Nor is a harness left alone that has leaked."""
    count = max(3, SEEDS_HERE // 4)
    outcomes = [play(seed, "leaks") for seed in seeds(count)]
    assert sum(outcome.leaks for outcome in outcomes) > count // 2, "memory that always comes back proves nothing"
    assert sum(outcome.mended for outcome in outcomes) > count // 2


@pytest.mark.seeds
def test_no_schedule_in_which_two_gateways_have_one_name_breaks_an_invariant() -> None:
    count = max(2, SEEDS_HERE // 4)
    outcomes = [play(seed, "doubles") for seed in seeds(count)]
    assert sum(outcome.steps_aside for outcome in outcomes) >= count, "each node should have told one of them apart"


def test_an_untroubled_fleet_serves_everybody_it_can() -> None:
    for seed in range(3):
        simulation = FleetSimulation(seed, trouble=FleetTrouble.none(), nodes=3)
        outcome = simulation.run()
        assert outcome.ended.keys() <= {"served", "refused"}
        assert outcome.ended["served"] > outcome.requests / 2


def test_same_seed_is_the_same_fleet() -> None:
    assert FleetSimulation(5, nodes=2).run() == FleetSimulation(5, nodes=2).run()
    assert FleetSimulation(5, nodes=2).run().trace != FleetSimulation(6, nodes=2).run().trace


@pytest.mark.parametrize("bug", PLANTED, ids=name_of)
def test_every_planted_bug_is_found(bug: PlantedBug) -> None:
    """By an invariant that it breaks, or by the error that is named for it; within ``SEEDS_TO_CATCH_A_BUG`` seeds."""
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for seed in range(bug.first_seed, bug.first_seed + SEEDS_TO_CATCH_A_BUG):
            try:
                fleet_in(bug.weather, seed).run()
            except SimulationFailure as failure:
                if _invariant_of(failure) in bug.invariants and bug.words in str(failure):
                    return
            except bug.breaks:
                return
    pytest.fail(f"{SEEDS_TO_CATCH_A_BUG} seeds did not notice")


def _invariant_of(failure: SimulationFailure) -> int:
    found = re.match(r"invariant (\d+)", str(failure))
    assert found is not None
    return int(found[1])
