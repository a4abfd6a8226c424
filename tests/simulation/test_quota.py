"""No schedule of lost and late messages, deaths, silences and skewed clocks lets a key have more than its limits.

``SEEDS=5000`` plays more of them. A failure names its seed: ``QuotaSimulation(seed).run()`` is that run again.
"""

import os
from typing import Any

import pytest
from tests.simulation.defect import Defect, check_caught, name_of
from tests.simulation.seed import seeds

from cortex.contract.key import KeyLimits
from cortex.fleet import quota_book, quota_holding
from cortex.fleet.quota_holding import Admission, Holding
from cortex.fleet.quota_meter import Meter
from cortex.testing.quota_simulation import ARRIVALS_END_S, QuotaSimulation, QuotaTrouble
from cortex.testing.referee import SimulationFailure

SEEDS = int(os.environ.get("SEEDS", "300")) // 12
SEEDS_TO_CATCH_A_DEFECT = 40
CALM = QuotaTrouble(lost=0, late=0, death=0, silence=0, excess=0, drift=0)
BALANCED: tuple[tuple[int, dict[str, int]], ...] = (
    (1, {"concurrent_requests": 1}),
    (2, {"concurrent_requests": 2}),
    (1, {"requests_per_min": 2}),
    (2, {"tokens_per_min": 3000}),
    (2, {"concurrent_requests": 2, "requests_per_min": 20, "tokens_per_min": 9000}),
)
"""Callers behind a balancer, and the limits of their key."""
ROUGH = QuotaTrouble(lost=0.15, late=0.2, death=0.6, silence=0.3, excess=0.1)
"""In which defects show sooner."""


@pytest.mark.seeds
def test_no_schedule_breaks_a_rule() -> None:
    admitted = denied = deaths = forgotten = 0
    for seed in seeds(SEEDS):
        try:
            outcome = QuotaSimulation(seed).run()
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)
        admitted, denied = admitted + outcome.admitted, denied + outcome.denied
        deaths, forgotten = deaths + outcome.deaths, forgotten + outcome.forgotten
    assert admitted > 30 * SEEDS, "keys that get nothing prove nothing"
    assert denied > 50 * SEEDS, "limits that are never reached prove nothing"
    assert deaths > SEEDS, "gateways that never die prove nothing"
    assert forgotten > 0, "leases that never end prove nothing"


@pytest.mark.seeds
def test_no_schedule_of_more_gateways_and_worse_weather_breaks_a_rule() -> None:
    for seed in seeds(max(1, SEEDS // 4)):
        try:
            QuotaSimulation(seed, trouble=ROUGH, gateways=6, requests=1200).run()
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)


def test_nobody_is_refused_while_there_is_enough() -> None:
    plenty = KeyLimits(requests_per_min=10_000, tokens_per_min=10**8, tokens_per_month=10**10, concurrent_requests=900)
    for seed in range(3):
        outcome = QuotaSimulation(seed, trouble=CALM, limits=plenty).run()
        assert (outcome.admitted, outcome.denied, outcome.refused) == (800, 0, 0)


def play_balanced(seed: int) -> None:
    for callers, limits in BALANCED:
        for gateways in (2, 3):
            outcome = QuotaSimulation(
                seed, trouble=CALM, gateways=gateways, requests=0, limits=KeyLimits(**limits), callers=callers
            ).run()
            assert outcome.admitted >= 6
            assert outcome.refused == 0


@pytest.mark.seeds
def test_whoever_is_within_the_limits_is_served_whichever_gateway_a_balancer_takes_it_to() -> None:
    for seed in seeds(max(1, SEEDS // 6)):
        try:
            play_balanced(seed)
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)


def test_of_what_is_asked_for_beyond_a_limit_all_of_the_limit_is_given() -> None:
    limits = KeyLimits(requests_per_min=20)
    for seed in range(3):
        outcome = QuotaSimulation(seed, trouble=CALM, limits=limits, requests=2000).run()
        assert 20 * (ARRIVALS_END_S // 60) <= outcome.admitted <= 20 * (ARRIVALS_END_S // 60 + 2)


def test_the_store_is_asked_far_less_often_than_requests_come() -> None:
    limits = KeyLimits(requests_per_min=6000, tokens_per_min=10**8)
    outcome = QuotaSimulation(1, trouble=CALM, limits=limits, gateways=1, requests=20_000).run()
    assert outcome.admitted == 20_000
    assert outcome.reports < 20_000 / 10


def test_same_seed_is_the_same_run() -> None:
    assert QuotaSimulation(7).run() == QuotaSimulation(7).run()
    assert QuotaSimulation(7).run().trace != QuotaSimulation(8).run().trace


def _windows_never_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Meter, "close", lambda _: None)
    answered = Meter.answered

    def endless(self: Meter, *said: Any, **how: Any) -> None:
        answered(self, *said, **how)
        self.ends_s += 30

    patch.setattr(Meter, "answered", endless)


def _what_the_dead_held_is_given_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quota_book, "_put_away", lambda *_: None)


def _places_of_the_silent_are_not_given_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quota_book, "LEASE_S", 1e9)


def _an_answer_is_added_to_what_is_held(patch: pytest.MonkeyPatch) -> None:
    answered = Meter.answered

    def added(self: Meter, *said: Any, **how: Any) -> None:
        before = max(0, self.free)
        answered(self, *said, **how)
        self.granted += before

    patch.setattr(Meter, "answered", added)


def _an_end_gives_back_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Admission, "settle", lambda *_: None)


def _an_end_gives_back_twice(patch: pytest.MonkeyPatch) -> None:
    settle = Admission.settle

    def twice(self: Admission, used: int | None) -> None:
        settle(self, used)
        self.is_over = False
        settle(self, 0)

    patch.setattr(Admission, "settle", twice)


def _a_report_that_was_overtaken_counts(patch: pytest.MonkeyPatch) -> None:
    settle = quota_book.settle

    def credulous(book: Any, report: Any, now_s: float) -> Any:
        known = book.holders.get(report.holder)
        if known is not None:
            known.number = 0
        return settle(book, report, now_s)

    patch.setattr("cortex.testing.quota_simulation.settle", credulous)


def _counts_that_were_closed_go_on(patch: pytest.MonkeyPatch) -> None:
    settle = quota_book.settle

    def forgetful(book: Any, report: Any, now_s: float) -> Any:
        answer = settle(book, report, now_s)
        if answer is None or not answer.is_forgotten:
            return answer
        if report.holder in book.holders:
            book.holders[report.holder].since = report.since
        return type(answer)(meters=answer.meters, places=answer.places, holders=answer.holders)

    patch.setattr("cortex.testing.quota_simulation.settle", forgetful)


def _nothing_is_given_back_when_idle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quota_holding, "IDLE_ALONE_S", 1e9)
    patch.setattr(quota_holding, "IDLE_S", 1e9)


def _a_slice_is_all_that_is_left_and_one_more(patch: pytest.MonkeyPatch) -> None:
    extra = quota_book._extra
    patch.setattr(quota_book, "_extra", lambda *about: extra(*about) + 1)


def _who_asks_for_the_last_of_it_is_refused(patch: pytest.MonkeyPatch) -> None:
    extra = quota_book._extra

    def mean(need: int, least: int, ahead: int, kept: int, remaining: int, holders: int) -> int:
        return 0 if need and remaining < 2 * least else extra(need, least, ahead, kept, remaining, holders)

    patch.setattr(quota_book, "_extra", mean)


DEFECTS = (
    _who_asks_for_the_last_of_it_is_refused,
    _windows_never_end,
    _what_the_dead_held_is_given_again,
    _places_of_the_silent_are_not_given_again,
    _an_answer_is_added_to_what_is_held,
    _an_end_gives_back_nothing,
    _an_end_gives_back_twice,
    _a_report_that_was_overtaken_counts,
    _counts_that_were_closed_go_on,
    _nothing_is_given_back_when_idle,
    _a_slice_is_all_that_is_left_and_one_more,
)


@pytest.mark.parametrize("defect", DEFECTS, ids=name_of)
def test_a_defect_is_noticed(defect: Defect) -> None:
    check_caught(
        defect,
        lambda seed: QuotaSimulation(seed, trouble=ROUGH, requests=2000).run(),
        SEEDS_TO_CATCH_A_DEFECT,
        SimulationFailure,
    )


def _nobody_waits_for_what_others_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holding, "may_hope", lambda *_: False)


def _nobody_hears_that_others_miss_something(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quota_book, "_is_wanted", lambda *_: False)


def _what_others_may_miss_is_told_of_now_and_then_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quota_holding, "SCARCE_S", 1e9)


@pytest.mark.parametrize(
    "defect",
    [
        _nobody_waits_for_what_others_hold,
        _nobody_hears_that_others_miss_something,
        _what_others_may_miss_is_told_of_now_and_then_only,
    ],
    ids=name_of,
)
def test_a_caller_that_is_refused_in_vain_is_noticed(defect: Defect) -> None:
    check_caught(defect, play_balanced, SEEDS_TO_CATCH_A_DEFECT, SimulationFailure)
