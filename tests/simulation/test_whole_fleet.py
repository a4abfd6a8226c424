"""Whole fleets: real dispatchers against real neurons, with everything going wrong that can.

``SEEDS=5000 make sim`` plays more. A failure names its seed, which is played again, and printed, by
``python -m cortex.testing.fleet_simulation --seed N --trace``.
"""

from cortex.testing.fleet_simulation import FleetSimulation


def test_same_seed_is_the_same_fleet() -> None:
    assert _last_steps(5) == _last_steps(5)
    assert _last_steps(5) != _last_steps(6)


def _last_steps(seed: int) -> list[str]:
    simulation = FleetSimulation(seed, nodes=2, gateways=1)
    simulation.begin()
    for _ in range(600):
        simulation.time.step()
    return simulation.time.last
