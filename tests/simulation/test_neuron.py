"""A hundred callers at once on the neuron's own objects. ``SEEDS=5000 make sim`` plays longer."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.defect import Defect, check_caught, name_of
from tests.simulation.neuron_world import Foul, World
from tests.simulation.seed import seeds
from tests.unit.neuron.fake_node import FakeHolders

from cortex.neuron.departure import Departure
from cortex.neuron.instance import Instance
from cortex.neuron.life import Life
from cortex.residency import fit
from cortex.residency.reservation import ReservationBook

SEEDS = max(3, int(os.environ.get("SEEDS", "300")) // 100)
SEEDS_TO_CATCH_A_DEFECT = 15


def play(seed: int, folder: Path) -> World:
    async def run() -> World:
        world = World(seed, folder)
        try:
            await world.run(callers=100, actions=3)
        finally:
            await world.close()
        return world

    folder.mkdir()
    return asyncio.run(run())


@pytest.mark.seeds
def test_no_hundred_callers_break_a_rule(tmp_path: Path) -> None:
    loads = evictions = 0
    for seed in seeds(SEEDS):
        try:
            world = play(seed, tmp_path / str(seed))
        except Foul as foul:
            pytest.fail(f"seed {seed}: {foul}", pytrace=False)
        loads, evictions = loads + world.outcomes["load"], evictions + world.evictions
    assert loads > 50 * SEEDS
    assert evictions > 5 * SEEDS, "a node that evicts nobody proves nothing"


def _victims_room_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fit, "promised_on", lambda promise, residents, device: 0)


def _room_given_early(patch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Life) -> bool:
        return True

    patch.setattr(Life, "_has_room", at_once)


def _requests_not_counted(patch: pytest.MonkeyPatch) -> None:
    judge = Departure._judged

    async def blind(self: Departure) -> Any:
        for key in self._looks:
            look = self._looks[key]

            async def quiet(look: Any = look) -> Any:
                return type(await look())(in_flight=0)

            self._looks[key] = quiet
        return await judge(self)

    patch.setattr(Departure, "_judged", blind)


def _holders_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeHolders, "has_all_acknowledged", lambda *_: True)


def _protection_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "protected_s", lambda *_: 0.0)


def _pins_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "is_pinned", False)


def _promise_never_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReservationBook, "release", lambda self, key: self._residents.pop(key, None))


def _record_worth_more_than_its_engine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Life, "_is_new", property(lambda _: True, lambda *_: None), raising=False)


DEFECTS: list[Defect] = [
    _victims_room_twice,
    _room_given_early,
    _requests_not_counted,
    _holders_not_asked,
    _protection_ignored,
    _pins_ignored,
    _promise_never_taken_back,
    _record_worth_more_than_its_engine,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=name_of)
def test_every_defect_that_is_put_in_is_caught(defect: Defect, tmp_path: Path) -> None:
    check_caught(defect, lambda seed: play(seed, tmp_path / str(seed)), SEEDS_TO_CATCH_A_DEFECT, Foul, KeyError)
