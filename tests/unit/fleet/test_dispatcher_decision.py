"""What the dispatcher puts on record: every placement, load, failure, eviction and refusal, with its reason."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report

from cortex.contract.instance import UnloadReason
from cortex.contract.profile import Profile
from cortex.fleet.decision import Decision
from cortex.fleet.event import LoadWanted, RequestArrived


class ToldFleet(Fleet):
    """A fleet of one node that keeps what it decided, also what is only counted."""

    def __init__(self, *profiles: Profile, is_up: bool = True) -> None:
        super().__init__(["a"], profiles or (a_profile(),), is_up=is_up)
        self._heard: list[Decision] = []
        self.dispatcher.decisions.watch(self._heard.append)

    def told(self, *kinds: str) -> list[Decision]:
        """Return what was decided, of some kinds or all."""
        return [decision for decision in self._heard if not kinds or decision.kind in kinds]


def test_a_cold_start_is_told_from_the_placement_to_the_grant_with_whose_it_is() -> None:
    fleet = ToldFleet()
    fleet.arrive("m", caller="agent")
    fleet.now_s += 4
    fleet.loaded("a")
    placement, load, grant = fleet.told()
    assert (placement.kind, placement.node, placement.caller, bool(placement.reason)) == (
        "placement",
        "a",
        "agent",
        True,
    )
    assert (load.kind, load.details["took_s"]) == ("load", 4.0)
    assert (grant.kind, grant.caller, grant.details["waited_s"]) == ("grant-cold", "agent", 4.0)


def test_a_request_that_only_waited_for_its_turn_is_counted() -> None:
    fleet = ToldFleet()
    fleet.ready("a", parallel=1)
    first = fleet.arrive("m")
    fleet.arrive("m", caller="agent")
    fleet.now_s += 2
    fleet.finish(first)
    (grant,) = fleet.told()
    assert (grant.kind, grant.number, grant.details["waited_s"]) == ("grant-queued", 0, 2.0)


def test_a_load_that_fails_is_told_in_the_engines_words() -> None:
    fleet = ToldFleet()
    fleet.arrive("m")
    fleet.load_failed("a", code="engine_failed", message="bad magic")
    (failure,) = fleet.told("failure")
    assert (failure.model, failure.node, failure.reason, failure.details["code"]) == (
        "m",
        "a",
        "bad magic",
        "engine_failed",
    )


def test_who_has_to_go_is_told_with_whom_it_makes_room_for() -> None:
    fleet = ToldFleet(a_profile("new", vram_mb=20_000), a_profile("old", vram_mb=20_000))
    fleet.now_s += 1
    fleet.sample("a", a_report("old", devices=(0,), declared_mb=20_000, idle_s=600.0))
    fleet.arrive("new", caller="agent")
    assert not fleet.told("eviction"), "it was only asked to go"
    fleet.now_s += 1
    fleet.sample("a", a_report("old", "unloaded"), a_report("new", "loading"))
    fleet.sample("a", a_report("new", "loading"))
    (eviction,) = fleet.told("eviction")
    assert (eviction.model, eviction.node, eviction.caller) == ("old", "a", "agent")
    assert eviction.details["by"] == "new"


@pytest.mark.parametrize("why", ["idle", "pressure"])
def test_what_a_node_unloads_by_itself_is_told_once_when_it_has_gone(why: UnloadReason) -> None:
    fleet = ToldFleet()
    fleet.ready("a")
    told = []
    for status in ("draining", "unloading", "unloaded", "unloaded"):
        fleet.now_s += 1
        fleet.sample("a", a_report("m", status, unload_reason=why))
        told.append(len(fleet.told("unload")))
    assert told == [0, 0, 1, 1]
    (unload,) = fleet.told("unload")
    assert (unload.model, unload.node, unload.caller, unload.details) == ("m", "a", "", {"why": why})
    assert unload.reason.startswith("its node has unloaded it")


@pytest.mark.parametrize("why", ["request", "eviction", "restart", None])
def test_what_somebody_has_had_unloaded_is_told_by_who_had_it_unloaded(why: UnloadReason | None) -> None:
    fleet = ToldFleet()
    fleet.ready("a")
    fleet.now_s += 1
    fleet.sample("a", a_report("m", "unloaded", unload_reason=why))
    assert not fleet.told("unload")


def test_what_a_node_had_unloaded_before_this_gateway_came_is_not_told() -> None:
    fleet = ToldFleet(is_up=False)
    fleet.discover("a")
    fleet.sample("a", a_report("m", "unloaded", unload_reason="idle"))
    assert not fleet.told("unload")


def test_who_is_asked_to_go_again_and_again_and_stays_was_not_evicted() -> None:
    """One that is busy, or protected, is asked for its room every few seconds until it may go."""
    fleet = ToldFleet(a_profile("new", vram_mb=20_000), a_profile("old", vram_mb=20_000))
    fleet.now_s += 1
    fleet.sample("a", a_report("old", devices=(0,), declared_mb=20_000, idle_s=600.0))
    fleet.arrive("new")
    for _ in range(3):
        fleet.load_failed("a", "new", code="busy", message="old has requests running")
        fleet.tick(20.0)
    assert len(fleet.told("placement")) > 1
    fleet.load_failed("a", "new", code="busy", message="old has requests running")
    fleet.sample("a", a_report("old", "unloaded"))
    assert not fleet.told("eviction"), "it has left for another reason"
    assert fleet.told("deferral")[0].details == {"code": "busy", "evicts": ["old"]}


def test_every_refusal_is_told_with_its_code_and_whose_it_was() -> None:
    fleet = ToldFleet(a_profile("m"), a_profile("huge", vram_mb=1_000_000))
    fleet.arrive("unknown", caller="x")
    fleet.arrive("huge", caller="y")
    told_of = [(refusal.model, refusal.caller, refusal.details["code"]) for refusal in fleet.told("refusal")]
    assert told_of == [("", "x", "model_not_found"), ("huge", "y", "model_not_found")]
    assert "unknown" in fleet.told("refusal")[0].reason


def test_a_request_whose_patience_is_over_is_told_as_refused() -> None:
    fleet = ToldFleet()
    fleet.ready("a", parallel=1)
    fleet.arrive("m")
    fleet.tell(RequestArrived(99, "m", caller="agent", patience_s=3.0))
    fleet.tick(5.0)
    (refusal,) = fleet.told("refusal")
    assert (refusal.caller, refusal.details["code"]) == ("agent", "no_capacity")


def test_without_any_node_that_answers_a_refusal_says_so() -> None:
    fleet = ToldFleet(is_up=False)
    fleet.lost("a")
    fleet.arrive("m")
    (refusal,) = fleet.told("refusal")
    assert (refusal.model, refusal.details["code"]) == ("m", "no_healthy_node")


def test_what_an_operator_wants_and_cannot_have_is_told_as_the_operators() -> None:
    fleet = ToldFleet(a_profile("huge", vram_mb=1_000_000))
    fleet.tell(LoadWanted(model="huge"))
    (refusal,) = fleet.told("refusal")
    assert (refusal.caller, refusal.details["code"]) == ("operator", "model_not_found")
