"""No schedule of lost, late and doubled messages, of gateways that die and neurons that restart breaks a lease's rules.

``SEEDS=5000`` plays more of them. A failure names its seed: ``LeaseSimulation(seed).run()`` is that run again.
"""

import os
from collections.abc import Iterable
from math import inf
from typing import Any

import pytest
from tests.simulation.defect import Defect, check_caught, name_of
from tests.simulation.seed import seeds

from cortex.contract.lease import LeasePost
from cortex.fleet.desk import Desk
from cortex.fleet.event import NodeChanged
from cortex.fleet.hold import Holds
from cortex.neuron.held_file import HeldFile
from cortex.neuron.lease import Leases
from cortex.residency.holding import Holding
from cortex.residency.lease_book import LeaseBook
from cortex.residency.leased_generation import LeasedGeneration
from cortex.testing.lease_simulation import LeaseSimulation, LeaseTrouble
from cortex.testing.referee import SimulationFailure

SEEDS = int(os.environ.get("SEEDS", "300")) // 8
SEEDS_TO_CATCH_A_DEFECT = 150
ROUGH = LeaseTrouble(lost=0.2, doubled=0.2, longest_delay_s=2.0, fate=0.95, cancelled=0.4)
"""In which defects show sooner."""


@pytest.mark.seeds
def test_no_schedule_breaks_a_rule() -> None:
    sent = shared = drained = 0
    for seed in seeds(SEEDS):
        try:
            outcome = LeaseSimulation(seed).run()
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)
        sent, shared, drained = sent + outcome.sent, shared + outcome.shared, drained + outcome.drained
    assert sent > 80 * SEEDS, "a node that serves nobody proves nothing"
    assert shared > 30 * SEEDS, "slots that never move prove nothing"
    assert drained > SEEDS // 2, "drains that never end well prove nothing"


@pytest.mark.seeds
def test_no_schedule_of_more_gateways_and_worse_weather_breaks_a_rule() -> None:
    wild = LeaseTrouble(lost=0.3, doubled=0.3, longest_delay_s=3.0, fate=0.9, cancelled=0.6)
    for seed in seeds(max(1, SEEDS // 5)):
        try:
            LeaseSimulation(seed, trouble=wild, gateways=6, models=3, requests=150).run()
        except SimulationFailure as failure:
            pytest.fail(f"seed {seed}: {failure}", pytrace=False)


def test_untroubled_gateways_have_every_request_served() -> None:
    calm = LeaseTrouble(lost=0, doubled=0, longest_delay_s=0.1, fate=0, cancelled=0)
    for seed in range(5):
        outcome = LeaseSimulation(seed, trouble=calm, requests=100).run()
        assert (outcome.sent, outcome.orphans, outcome.restarts, outcome.drained) == (100, 0, 0, 0)


def test_same_seed_is_the_same_run() -> None:
    assert LeaseSimulation(7).run() == LeaseSimulation(7).run()
    assert LeaseSimulation(7).run().trace != LeaseSimulation(8).run().trace


def _drains_wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseBook, "has_all_acknowledged", lambda *_: True)


def _any_post_acknowledges(patch: pytest.MonkeyPatch) -> None:
    report = Holding.report

    def credulous(self: Holding, said: Any, *, seen_event: int, **how: Any) -> None:
        report(self, said, seen_event=seen_event and 1 << 40, **how)

    patch.setattr(Holding, "report", credulous)


def _late_posts_are_taken_in(patch: pytest.MonkeyPatch) -> None:
    post = LeaseBook.post

    def forgetful(self: LeaseBook, one: LeasePost, *rest: Any) -> Any:
        if one.gateway_id in self._gateways:
            self._gateways[one.gateway_id].seq = -1
        return post(self, one, *rest)

    patch.setattr(LeaseBook, "post", forgetful)


def _leases_never_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeasedGeneration, "expire", lambda *_: None)


def _slots_move_before_their_holder_knows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holding, "held", property(lambda self: max(self.told, self.in_flight)))


def _slots_beyond_what_there_is(patch: pytest.MonkeyPatch) -> None:
    free = LeasedGeneration._free
    patch.setattr(LeasedGeneration, "_free", lambda self: max(0, free(self)))


def _cancelled_requests_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holding, "_add_debris", lambda *_: None)


def _requests_of_a_dead_process_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    report = Holding.report

    def forgetful(self: Holding, said: Any, *, seen_event: int, **how: Any) -> None:
        report(self, said, seen_event=seen_event or 1, **how)

    patch.setattr(Holding, "report", forgetful)


def _holders_of_the_last_process_are_ignored(patch: pytest.MonkeyPatch) -> None:
    begin = LeaseBook.__init__

    def careless(self: LeaseBook, **how: Any) -> None:
        begin(self, **how | {"known_from_s": 0.0})

    patch.setattr(LeaseBook, "__init__", careless)


def _who_holds_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HeldFile, "note", lambda self, *_, **__: None)


def _idle_slots_are_never_called_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeasedGeneration, "_call_back", lambda _, leases, __: {one.gateway_id: one.told for one in leases})


def _what_another_process_told_counts_as_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "seen_by", lambda self, post: min(post.seen_event, self._events.event))


def _the_silent_are_not_told_that_they_have_nothing(patch: pytest.MonkeyPatch) -> None:
    begin = Holding.__init__
    patch.setattr(Holding, "__init__", lambda self, gateway_id, _: begin(self, gateway_id, 0))


def _slots_of_the_dead_stay_with_them(patch: pytest.MonkeyPatch) -> None:
    count = LeasedGeneration.count
    patch.setattr(LeasedGeneration, "count", lambda self, in_flight, asked_s: count(self, 1 << 40, asked_s))


def _a_drain_that_was_given_up_goes_on_for_the_book(patch: pytest.MonkeyPatch) -> None:
    serve = LeasedGeneration.serve

    def stubborn(self: LeasedGeneration, serving: Any, event: int) -> None:
        kept = self.draining_event
        serve(self, serving, event)
        self.draining_event = kept or self.draining_event

    patch.setattr(LeasedGeneration, "serve", stubborn)


def _a_lease_that_has_ended_is_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "trusted_until_s", lambda *_: inf)


def _slots_that_were_called_back_are_used(patch: pytest.MonkeyPatch) -> None:
    tell = Holds.tell

    def deaf(self: Holds, told: Iterable[Any], **_: Any) -> bool:
        known = {model: hold.slots or 0 for model, hold in self._by_model.items()}
        return tell(self, [one for one in told if one.slots >= known.get(one.model_id, 0)])

    patch.setattr(Holds, "tell", deaf)


def _an_old_endpoint_brings_slots_back(patch: pytest.MonkeyPatch) -> None:
    take = Holds.take

    def credulous(self: Holds, model_id: str, generation: int, slots: int | None, asked_s: float) -> bool:
        is_new = take(self, model_id, generation, slots, asked_s)
        self._by_model[model_id].slots = slots
        return is_new

    patch.setattr(Holds, "take", credulous)


def _gaps_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    changed = Desk.changed

    def hasty(self: Desk, event: NodeChanged, now_s: float) -> Any:
        if event.change.start_id == self.start_id and event.change.event > self.event:
            self.event = event.change.event - 1
        return changed(self, event, now_s)

    patch.setattr(Desk, "changed", hasty)


def _what_the_stream_told_counts_before_any_report(patch: pytest.MonkeyPatch) -> None:
    begin = Desk.__init__

    def hasty(self: Desk, *args: Any, **how: Any) -> None:
        begin(self, *args, **how)
        self._is_known = True

    patch.setattr(Desk, "__init__", hasty)


def _nothing_is_reported_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "wants_post", property(lambda _: False))


DEFECTS: list[Defect] = [
    _drains_wait_for_nobody,
    _any_post_acknowledges,
    _late_posts_are_taken_in,
    _leases_never_end,
    _slots_move_before_their_holder_knows,
    _slots_beyond_what_there_is,
    _cancelled_requests_are_forgotten,
    _requests_of_a_dead_process_are_forgotten,
    _holders_of_the_last_process_are_ignored,
    _who_holds_is_not_written_down,
    _idle_slots_are_never_called_back,
    _what_another_process_told_counts_as_seen,
    _the_silent_are_not_told_that_they_have_nothing,
    _slots_of_the_dead_stay_with_them,
    _a_drain_that_was_given_up_goes_on_for_the_book,
    _a_lease_that_has_ended_is_trusted,
    _slots_that_were_called_back_are_used,
    _an_old_endpoint_brings_slots_back,
    _gaps_are_passed_over,
    _what_the_stream_told_counts_before_any_report,
    _nothing_is_reported_at_once,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=name_of)
def test_every_defect_that_is_put_in_is_caught(defect: Defect) -> None:
    check_caught(
        defect, lambda seed: LeaseSimulation(seed, trouble=ROUGH).run(), SEEDS_TO_CATCH_A_DEFECT, SimulationFailure
    )
