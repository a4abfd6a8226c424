"""Bugs that are planted into the real objects of both sides, each with the invariants that must notice it.

A simulation that does not find them proves nothing. They stand for what fleets have been seen to do wrong: answers of
another model, engines cut for a load, loads twice, slots lost, waiters forgotten, two maintenance moves at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from cortex.contract.instance import Victim
from cortex.fleet import event as happened
from cortex.fleet import plan, reconcile
from cortex.fleet.arrival import Arrival
from cortex.fleet.desk import Desk
from cortex.fleet.estate import Estate
from cortex.fleet.load_book import LoadBook
from cortex.fleet.loading import Loading
from cortex.fleet.move import Mover
from cortex.fleet.poison import PoisonList
from cortex.fleet.replica import NO_LIMIT, Replica
from cortex.fleet.retry_budget import RetryBudget
from cortex.neuron.cycle import CycleBook
from cortex.neuron.instance import Instance
from cortex.neuron.memory_return import MemoryReturn
from cortex.residency import drain, eviction, fit
from cortex.residency.drain import Drain
from cortex.residency.lease_book import LeaseBook
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import TicketBook
from cortex.testing import fleet_call
from cortex.testing.fleet_gateway import STEWARD
from cortex.testing.fleet_neuron import NeuronProcess
from cortex.testing.fleet_simulation import FleetSimulation
from cortex.testing.fleet_store import Claim, ToyStore


class PlantedBug(NamedTuple):
    """One bug: how it is put in, and which invariants may notice it."""

    plant: Callable[[pytest.MonkeyPatch], None]
    invariants: tuple[int, ...]
    weather: str = "usual"
    """In which it shows."""
    first_seed: int = 0
    """The search begins with it, because it takes long to come there."""
    words: str = ""
    """What whoever notices it must say."""
    breaks: tuple[type[Exception], ...] = ()
    """Errors of the objects themselves that count as noticing it."""


def name_of(bug: PlantedBug) -> str:
    return bug.plant.__name__.strip("_")


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    """An engine answers whatever comes to its port, also what was sent to whoever had that before."""
    patch.setattr(fleet_call, "answers_to", lambda *_: True)


def _stale_plans_are_accepted(patch: pytest.MonkeyPatch) -> None:
    """A gateway goes by the generations that it saw first, and a neuron evicts whichever is there by now."""
    first: dict[str, int] = {}
    begin, stale = FleetSimulation.begin, eviction._stale

    def anew(self: FleetSimulation) -> None:
        first.clear()
        begin(self)

    def as_it_was(*, model_id: str, generation: int) -> Victim:
        return Victim(model_id=model_id, generation=first.setdefault(model_id, generation))

    def whoever_is_there(victims: Sequence[Victim], tenants: Any) -> eviction.Refusal | None:
        known = [victim for victim in victims if victim.model_id in tenants]
        if len(known) < len(victims):
            return stale(victims, tenants)
        return stale(
            [msgspec.structs.replace(one, generation=tenants[one.model_id].generation) for one in known], tenants
        )

    patch.setattr(FleetSimulation, "begin", anew)
    patch.setattr(plan, "Victim", as_it_was)
    patch.setattr("cortex.neuron.basis.Basis.check", lambda *_, **__: None)
    patch.setattr(eviction, "_stale", whoever_is_there)


def _evictions_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drain.Look, "is_quiet", property(lambda look: True))
    patch.setattr(eviction, "_busy", lambda *_: None)
    judge = Drain.judge

    def hasty(self: Drain, looks: Any, now_s: float) -> str:
        return judge(self, [drain.Look(in_flight=0) for _ in looks], now_s)

    patch.setattr(Drain, "judge", hasty)


def _no_single_flight(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LoadBook, "flight_of", lambda *_: None)
    patch.setattr(LoadBook, "is_under_way", lambda *_: False)


def _departures_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A request that was cancelled in flight keeps its slot for ever."""
    finished = Arrival.finished

    def forgetful(self: Arrival, event: happened.RequestFinished, now_s: float) -> Any:
        return [] if event.is_cancelled else finished(self, event, now_s)

    patch.setattr(Arrival, "finished", forgetful)


def _wakeups_are_lost(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at a queue when a load has succeeded or a slot has come free, nor later."""
    patch.setattr(Loading, "advance_all", lambda *_: [])
    patch.setattr(Loading, "advance", lambda *_: [])


def _swaps_are_not_protected(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "protected_s", lambda *_: 0.0)


def _sends_beyond_slots(patch: pytest.MonkeyPatch) -> None:
    def generous(self: Replica, *_: object) -> None:
        self.limit = NO_LIMIT

    patch.setattr(Replica, "set_slots", generous)
    patch.setattr(Replica, "set_parallel", generous)


def _drains_are_not_heard_of(patch: pytest.MonkeyPatch) -> None:
    """A gateway goes on granting what it has acknowledged to drain."""
    take = reconcile.take_report

    def deaf(model: Any, node: str, report: Any, **how: Any) -> Any:
        if report.status in ("draining", "unloading"):
            return False
        return take(model, node, report, **how)

    patch.setattr("cortex.fleet.news.take_report", deaf)


def _older_events_are_taken_in(patch: pytest.MonkeyPatch) -> None:
    """News that are older than what is known count as news."""
    changed, answered = Desk.changed, Desk.answered

    def credulous(self: Desk, event: Any, now_s: float) -> Any:
        self.event = min(self.event, event.change.event - 1)
        self.start_id = event.change.start_id
        self._past.clear()
        return changed(self, event, now_s)

    def gullible(self: Desk, event: Any, now_s: float) -> Any:
        self.event = min(self.event, event.answer.event)
        self._past.clear()
        return answered(self, event, now_s)

    patch.setattr(Desk, "changed", credulous)
    patch.setattr(Desk, "answered", gullible)


def _victims_go_beyond_need(patch: pytest.MonkeyPatch) -> None:
    """Whoever could go, goes, as soon as one must."""

    def all_that_can(_: Any, scene: eviction.Scene, proposed: Any) -> tuple[str, ...]:
        others = [key for key, tenant in scene.tenants.items() if tenant.is_evictable and key not in proposed]
        return (*proposed, *others) if proposed else ()

    patch.setattr(eviction, "_needed", all_that_can)


def _pins_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "is_pinned", False)


def _memory_is_back_at_once(patch: pytest.MonkeyPatch) -> None:
    """Room counts before it was seen free, and nobody looks again before the engine starts: which then dies of it."""
    patch.setattr(MemoryReturn, "is_back", lambda *_: True)
    patch.setattr(ReservationBook, "judge_again", lambda *_: fit.Fit(devices=()))


def _engines_are_not_adopted(patch: pytest.MonkeyPatch) -> None:
    adopt = NeuronProcess._adopt

    def careless(self: NeuronProcess) -> None:
        self.found = [engine for engine in self.found if engine.generation % 2]
        adopt(self)

    patch.setattr(NeuronProcess, "_adopt", careless)


def _a_neuron_begins_with_a_clean_node(patch: pytest.MonkeyPatch) -> None:
    """What a neuron finds running when it begins, it stops, now and then."""
    adopt = NeuronProcess._adopt

    def tidy(self: NeuronProcess) -> None:
        for engine in self.found:
            if engine.is_running and engine.generation % 2:
                self.supervisor.end_engine(engine, is_forced=True)
        adopt(self)

    patch.setattr(NeuronProcess, "_adopt", tidy)


def _leaks_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Memory that an engine has not given back makes no restart of its harness due."""
    count = CycleBook.count
    patch.setattr(CycleBook, "count", lambda self, harness, _: count(self, harness, True))


def _holders_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseBook, "has_all_acknowledged", lambda *_: True)


def _claims_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """Two gateways believe to have claimed the same first load."""
    claim = ToyStore.claim

    def yielding(self: ToyStore, name: str, holder: str, target: str) -> Claim:
        got = claim(self, name, holder, target)
        return got._replace(holder=holder) if name.startswith("load:") else got

    patch.setattr(ToyStore, "claim", yielding)


def _poison_is_passed_on(patch: pytest.MonkeyPatch) -> None:
    """A request is tried anywhere, however often instances die of it."""
    patch.setattr("cortex.gateway.data.places.MAX_SENT", 9)
    patch.setattr(PoisonList, "deaths", lambda *_: 0)


def _poison_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Each time that a client tries again, two more instances die."""
    patch.setattr(PoisonList, "note_death", lambda *_: None)


def _retries_know_no_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RetryBudget, "spend", lambda *_: True)


def _reservations_are_kept(patch: pytest.MonkeyPatch) -> None:
    """What was promised to a load that never began is never taken back."""

    def keep(self: ReservationBook, key: str) -> None:
        self._residents.pop(key, None)
        self._await_no_more(key)

    patch.setattr(ReservationBook, "release", keep)


def _the_last_place_is_drained(patch: pytest.MonkeyPatch) -> None:
    """A model leaves a node in maintenance though no other one has it."""
    patch.setattr(Estate, "elsewhere", lambda self, model, node: self.up(model) or self.on(node))


def _leases_never_end(patch: pytest.MonkeyPatch) -> None:
    """A neuron waits for gateways that are gone."""
    patch.setattr(LeaseBook, "_expire", lambda *_: None)


def _no_load_is_ever_due(patch: pytest.MonkeyPatch) -> None:
    """Endless traffic for one model keeps another one out."""
    patch.setattr(TicketBook, "due_in_s", lambda *_: 5.0)


def _two_are_steward(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks is in office, with the number of whoever is."""
    claim = ToyStore.claim

    def yielding(self: ToyStore, name: str, holder: str, target: str) -> Claim:
        got = claim(self, name, holder, target)
        return got._replace(holder=holder) if name == STEWARD else got

    patch.setattr(ToyStore, "claim", yielding)


def _moves_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A steward begins another move while one is under way."""
    patch.setattr(Mover, "_is_step_under_way", lambda *_: False)
    patch.setattr(Mover, "_bring_back", lambda *_: None)
    patch.setattr(Mover, "_current", property(lambda _: None, lambda *_: None), raising=False)
    patch.setattr(Estate, "is_emptying", lambda *_: False)


def _processes_have_no_names(patch: pytest.MonkeyPatch) -> None:
    """No neuron can tell two gateways of one name apart, and both send by the same slots."""
    patch.setattr(Desk, "process", property(lambda _: "", lambda *_: None), raising=False)


def _doubles_stay(patch: pytest.MonkeyPatch) -> None:
    """A gateway that is told that another one has its name keeps it."""
    patch.setattr(Desk, "_step_aside", lambda *_: None)


PLANTED: list[PlantedBug] = [
    PlantedBug(_no_fence, (2,), "partitions", 11),
    PlantedBug(_stale_plans_are_accepted, (6,), "rough"),
    PlantedBug(_evictions_cut, (1,)),
    PlantedBug(_no_single_flight, (5, 10)),
    PlantedBug(_departures_are_forgotten, (9, 10, 11, 12)),
    PlantedBug(_wakeups_are_lost, (9, 12)),
    PlantedBug(_swaps_are_not_protected, (4,)),
    PlantedBug(_sends_beyond_slots, (8,)),
    PlantedBug(_drains_are_not_heard_of, (7,), first_seed=4),
    PlantedBug(_older_events_are_taken_in, (7,)),
    PlantedBug(_victims_go_beyond_need, (6,), "rough"),
    PlantedBug(_pins_are_ignored, (4,), "pins", 15),
    PlantedBug(_memory_is_back_at_once, (3, 12)),
    PlantedBug(_engines_are_not_adopted, (5, 14), "rough"),
    PlantedBug(_a_neuron_begins_with_a_clean_node, (14,), "rough"),
    PlantedBug(_leaks_are_not_counted, (10,), "leaks", words="have kept memory"),
    PlantedBug(_holders_are_not_waited_for, (7,), "rough", 31),
    PlantedBug(_claims_are_ignored, (5,), first_seed=22),
    PlantedBug(_poison_is_passed_on, (15,), "crashes"),
    PlantedBug(_poison_is_forgotten, (15,), "crashes"),
    PlantedBug(_retries_know_no_budget, (15,), "crashes"),
    PlantedBug(_reservations_are_kept, (10, 12), "rough", breaks=(KeyError,)),
    PlantedBug(_the_last_place_is_drained, (15,), "service"),
    PlantedBug(_leases_never_end, (11,), first_seed=15),
    PlantedBug(_no_load_is_ever_due, (12,), "throng", 990, "before everybody else"),
    PlantedBug(_processes_have_no_names, (8,), "doubles"),
    PlantedBug(_doubles_stay, (8, 12), "doubles"),
    PlantedBug(_two_are_steward, (15,), "restarts"),
    PlantedBug(_moves_are_not_waited_for, (15,), "restarts", 16),
]
