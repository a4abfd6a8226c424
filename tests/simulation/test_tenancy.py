"""One node under random loads, evictions, drains, requests and crashes. ``SEEDS=5000 make sim`` plays longer."""

import os
from typing import Any

import pytest
from tests.simulation.defect import Defect, check_caught, name_of
from tests.simulation.seed import seeds
from tests.simulation.tenancy import Tenancy
from tests.simulation.tenancy_referee import Foul, TenancyReferee

from cortex.residency import drain, eviction, fit
from cortex.residency.drain import Drain
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import TicketBook

SEEDS = max(10, int(os.environ.get("SEEDS", "300")) // 15)
SEEDS_TO_CATCH_A_DEFECT = 40


def play(seed: int) -> Tenancy:
    node = Tenancy(seed)
    referee = TenancyReferee(node)
    node.run(referee.look)
    referee.rest()
    return node


@pytest.mark.seeds
def test_no_schedule_breaks_a_rule_of_one_node() -> None:
    served = evictions = due = 0
    for seed in seeds(SEEDS):
        try:
            node = play(seed)
        except Foul as foul:
            pytest.fail(f"seed {seed}: {foul}", pytrace=False)
        served, evictions, due = served + len(node.served), evictions + node.evicted, due + node.due
    assert served > 20 * SEEDS, "a node that loads nothing proves nothing"
    assert evictions > 4 * SEEDS
    assert due > SEEDS


def test_same_seed_is_the_same_run() -> None:
    first, second = play(3), play(3)
    assert (first.now_s, first.loads, first.evicted) == (second.now_s, second.loads, second.evicted)
    assert first.now_s != play(4).now_s


def _victims_room_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fit, "promised_on", lambda promise, residents, device: 0)


def _room_given_before_it_is_there(patch: pytest.MonkeyPatch) -> None:
    reserve = ReservationBook.reserve

    def hasty(self: ReservationBook, *args: Any, awaits: Any = (), **more: Any) -> Any:
        verdict = reserve(self, *args, awaits=awaits, **more)
        for key in awaits:
            self._await_no_more(key)
        return verdict

    patch.setattr(ReservationBook, "reserve", hasty)


def _protection_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(eviction, "_protected", lambda *_: None)


def _pictures_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(eviction, "_stale", lambda *_: None)


def _all_victims_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(eviction, "_needed", lambda wish, scene, proposed: proposed)


def _requests_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drain.Look, "is_quiet", property(lambda look: look.is_acknowledged))


def _holders_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drain.Look, "is_quiet", property(lambda look: look.in_flight == 0))
    patch.setattr(drain, "QUIET_LOOKS", 1)


def _evictions_without_an_end(patch: pytest.MonkeyPatch) -> None:
    judge = Drain.judge

    def patient(self: Drain, looks: Any, now_s: float) -> str:
        verdict = judge(self, looks, now_s)
        return "wait" if verdict == "given_up" else verdict

    patch.setattr(Drain, "judge", patient)


def _nobody_is_ever_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TicketBook, "due_in_s", lambda *_: 5.0)


def _whoever_comes_is_served(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(eviction, "_out_of_turn", lambda *_: None)


def _promise_never_taken_back(patch: pytest.MonkeyPatch) -> None:
    def keep(self: ReservationBook, key: str) -> None:
        self._residents.pop(key, None)
        self._await_no_more(key)

    patch.setattr(ReservationBook, "release", keep)


def _whoever_returns_makes_room_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReservationBook, "_await_no_more", lambda *_: None)


def _promises_do_not_count(patch: pytest.MonkeyPatch) -> None:
    def judge(
        self: ReservationBook, need_mb: int, devices: Any, rooms: Any, *, without: Any = (), beside: Any = ()
    ) -> Any:
        residents = tuple(resident for resident in self.residents if resident.key not in without)
        return fit.fits(need_mb, devices, rooms, residents=residents, headroom_mb=self._headroom_mb)

    patch.setattr(ReservationBook, "judge", judge)


DEFECTS: list[Defect] = [
    _victims_room_twice,
    _room_given_before_it_is_there,
    _protection_ignored,
    _pictures_believed,
    _all_victims_taken,
    _requests_cut,
    _holders_not_asked,
    _evictions_without_an_end,
    _nobody_is_ever_due,
    _whoever_comes_is_served,
    _promise_never_taken_back,
    _whoever_returns_makes_room_again,
    _promises_do_not_count,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=name_of)
def test_every_defect_that_is_put_in_is_caught(defect: Defect) -> None:
    check_caught(defect, play, SEEDS_TO_CATCH_A_DEFECT, AssertionError, KeyError)
