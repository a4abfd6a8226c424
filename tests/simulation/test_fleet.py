"""Random fleets around the real dispatcher. ``SEEDS=5000 make sim`` plays longer; a failure names its seed."""

import os
from math import inf
from typing import Any

import pytest
from tests.simulation.defect import Defect, check_caught, name_of
from tests.simulation.seed import seeds

from cortex.fleet.arrival import Arrival
from cortex.fleet.desk import Desk
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.event import LoadFailed, NodeSampled, RequestArrived, RequestFinished, Ticked
from cortex.fleet.load_book import LoadBook
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.queueing import Queue
from cortex.fleet.replica import Replica
from cortex.testing.referee import SimulationFailure
from cortex.testing.simulation import Simulation, Trouble

SEEDS = int(os.environ.get("SEEDS", "90"))
SEEDS_TO_CATCH_A_DEFECT = 60


@pytest.mark.seeds
def test_no_schedule_breaks_a_rule() -> None:
    granted = 0
    for seed in seeds(SEEDS):
        try:
            granted += Simulation(seed).run().granted
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)
    assert granted > 10 * SEEDS, "a fleet that serves nobody proves nothing"


@pytest.mark.seeds
def test_no_schedule_of_a_larger_and_wilder_fleet_breaks_a_rule() -> None:
    wild = Trouble(load_fails=0.5, node_event=0.8, request_fails=0.4, client_leaves=0.5, longest_delay_s=4.0)
    for seed in seeds(max(1, SEEDS // 15)):
        try:
            Simulation(seed, trouble=wild, requests=200, nodes=6, models=9).run()
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)


def test_untroubled_fleet_grants_every_request_that_names_a_model() -> None:
    calm = Trouble(load_fails=0, load_is_slow=0, node_event=0, request_fails=0, client_leaves=0, longest_delay_s=0.1)
    for seed in range(20):
        outcome = Simulation(seed, trouble=calm).run()
        assert outcome.suspected == outcome.left == 0
        assert outcome.loads <= 4, "one load per model"


def test_same_seed_is_the_same_run() -> None:
    assert Simulation(7).run() == Simulation(7).run()
    assert Simulation(7).run().trace != Simulation(8).run().trace


def _no_single_flight(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LoadBook, "flight_of", lambda *_: None)


def _forgotten_departure(patch: pytest.MonkeyPatch) -> None:
    finished = Arrival.finished

    def forgetful(self: Arrival, event: RequestFinished, now_s: float) -> list[Any]:
        return finished(self, event, now_s) if event.ticket in self._floor.granted else []

    patch.setattr(Arrival, "finished", forgetful)


def _slots_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replica, "set_parallel", lambda *_: None)


def _avoidance_ignored(patch: pytest.MonkeyPatch) -> None:
    pick = Model.pick
    patch.setattr(Model, "pick", lambda self, avoid=(), head=b"", tokens=0: pick(self, (), head, tokens))


def _suspicion_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replica, "strike", lambda *_: None)


def _old_news_believed(patch: pytest.MonkeyPatch) -> None:
    sampled = Desk.sampled

    def gullible(self: Desk, event: NodeSampled, now_s: float) -> Any:
        self.start_id, self.event, self._asked_s = event.start_id, event.event, -inf
        self._past.clear()
        return sampled(self, event, now_s)

    patch.setattr(Desk, "sampled", gullible)


def _endless_patience(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Queue, "overdue", lambda *_: [])


def _failed_load_kept(patch: pytest.MonkeyPatch) -> None:
    def ignore(self: Loading, event: LoadFailed, now_s: float) -> list[Any]:
        return []

    patch.setattr(Loading, "failed", ignore)


def _arrivals_answered_twice(patch: pytest.MonkeyPatch) -> None:
    arrived = Arrival.arrived

    def stutter(self: Arrival, event: RequestArrived, now_s: float) -> list[Any]:
        return arrived(self, event, now_s) * 2

    patch.setattr(Arrival, "arrived", stutter)


def _deaf_to_ticks(patch: pytest.MonkeyPatch) -> None:
    def ignore(self: Dispatcher, event: Ticked, now_s: float) -> list[Any]:
        return []

    patch.setattr(Dispatcher, "_ticked", ignore)


DEFECTS: list[Defect] = [
    _no_single_flight,
    _forgotten_departure,
    _slots_ignored,
    _avoidance_ignored,
    _suspicion_ignored,
    _old_news_believed,
    _endless_patience,
    _failed_load_kept,
    _arrivals_answered_twice,
    _deaf_to_ticks,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=name_of)
def test_every_defect_that_is_put_in_is_caught(defect: Defect) -> None:
    check_caught(defect, lambda seed: Simulation(seed).run(), SEEDS_TO_CATCH_A_DEFECT, SimulationFailure)
