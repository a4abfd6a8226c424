"""What those who wait are told."""

from tests.unit.fleet.builder import Fleet, a_profile, a_report

from cortex.fleet.event import LoadFailed
from cortex.fleet.outlook import Outlook


def outlook(fleet: Fleet, ticket: int) -> Outlook | None:
    return fleet.dispatcher.outlook(ticket, fleet.now_s)


def test_one_for_whom_a_load_was_just_asked_for_starts() -> None:
    fleet = Fleet(["a"], [a_profile()])
    assert outlook(fleet, fleet.arrive()) == Outlook(state="starting", node="a")


def test_one_whose_model_loads_is_told_where_and_how_far() -> None:
    fleet = Fleet(["a"], [a_profile()])
    ticket = fleet.arrive()
    fleet.now_s += 1
    fleet.sample("a", a_report(status="loading", progress=0.4))
    assert outlook(fleet, ticket) == Outlook(state="loading", node="a", progress=0.4)


def test_time_left_is_told_where_the_model_was_loaded_before() -> None:
    fleet = Fleet(["a"], [a_profile()])
    ticket = fleet.arrive()
    fleet.now_s += 10
    fleet.sample("a", a_report(status="loading", load_s=30.0))
    assert outlook(fleet, ticket) == Outlook(state="loading", node="a", eta_s=20.0)
    fleet.now_s += 25
    assert outlook(fleet, ticket) == Outlook(state="loading", node="a"), "what takes longer than usual is not guessed"


def test_one_who_waits_for_room_is_told_so() -> None:
    fleet = Fleet(["a"], [a_profile()])
    ticket = fleet.arrive()
    fleet.tell(LoadFailed(node="a", model="m", code="busy", message="x", retry_in_s=2.0))
    assert outlook(fleet, ticket) == Outlook(state="making_room", node="a")


def test_one_who_waits_for_a_slot_is_told_how_many_are_before_it() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.sample("a", a_report(parallel=1))
    fleet.ready("a")
    fleet.sample("a", a_report(parallel=1))
    tickets = [fleet.arrive() for _ in range(3)]
    assert [outlook(fleet, ticket) for ticket in tickets] == [
        None,
        Outlook(state="queued", position=0),
        Outlook(state="queued", position=1),
    ]
