"""What the planner is told of the dispatcher's books."""

from tests.unit.fleet.builder import Fleet, a_profile

from cortex.fleet.fact import NO_USE, Use
from cortex.fleet.knowledge import Knowledge
from cortex.fleet.memory import LoadUnderWay


def knowledge(fleet: Fleet) -> Knowledge:
    floor = fleet.dispatcher._floor
    return Knowledge("m", floor.models, floor.book, fleet.now_s)


def test_use_tells_what_is_in_flight_who_waits_and_when_it_was_used_last() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a", parallel=1)
    assert knowledge(fleet).use_of("a", "m") == Use(0, 0, None), "seen is not used"
    fleet.now_s += 5
    fleet.arrive()
    fleet.arrive()
    assert knowledge(fleet).use_of("a", "m") == Use(1, 1, fleet.now_s)
    assert knowledge(fleet).use_of("b", "m") == knowledge(fleet).use_of("a", "other") == NO_USE


def test_requests_of_a_generation_that_is_gone_are_counted_still() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a")
    fleet.arrive()
    fleet.ready("a", generation=2)
    assert knowledge(fleet).use_of("a", "m").in_flight == 1


def test_loads_under_way_and_pairs_held_off_are_told() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    fleet.arrive()
    ((node, loads),) = knowledge(fleet).loads.items()
    assert loads == (LoadUnderWay(model="m", need_mb=1000, devices=(0,)),)
    fleet.load_failed(node)
    assert list(knowledge(fleet).holds) == [node]


def test_catalogue_and_what_was_learnt_are_told() -> None:
    fleet = Fleet(["a"], [a_profile()])
    known = knowledge(fleet)
    assert (known.profile_of("m"), known.profile_of("x")) == (a_profile(), None)
    assert (known.need_mb("m"), known.need_mb("x")) == (None, None)
    fleet.dispatcher._floor.models["m"].learnt_mb = 500
    assert known.need_mb("m") == 500
