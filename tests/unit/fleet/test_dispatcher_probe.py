"""After a failure one request at a time shows whether an instance works again; everybody else waits for that."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile

from cortex.fleet.effect import Target
from cortex.fleet.event import RequestAnswered, RequestFinished


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["a"], [a_profile()])


def fail(fleet: Fleet, target: Target) -> None:
    """Let it fail, its neuron vouch for it, and its rest be over."""
    fleet.suspect(target, "silent")
    fleet.fetched("a")
    fleet.tick(2.0)


def granted(fleet: Fleet, tickets: list[int]) -> list[int]:
    return [ticket for ticket in tickets if ticket in fleet.answers]


def test_of_a_whole_queue_one_request_goes_to_what_has_failed(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    fleet.suspect(target, "silent")
    tickets = [fleet.arrive() for _ in range(20)]
    fleet.fetched("a")
    assert granted(fleet, tickets) == []
    fleet.tick(0.25)
    assert granted(fleet, tickets) == tickets[:1]
    assert fleet.grant(tickets[0]).is_probe
    fleet.tick(300)
    assert granted(fleet, [*tickets, fleet.arrive()]) == tickets[:1]


def test_when_it_is_answered_all_the_others_go(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    fail(fleet, target)
    tickets = [fleet.arrive() for _ in range(20)]
    fleet.tell(RequestAnswered(tickets[0]))
    assert granted(fleet, tickets) == tickets[:8]
    assert [fleet.grant(ticket).is_probe for ticket in tickets[:8]] == [True, *(False for _ in range(7))]
    assert fleet.tell(RequestAnswered(tickets[1])) == [], "nothing was waited for"
    assert fleet.tell(RequestAnswered(999)) == []


def test_a_probe_that_is_simply_over_was_answered(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    fail(fleet, target)
    probe, other = fleet.arrive(), fleet.arrive()
    fleet.finish(probe)
    assert fleet.grant(other).target is target
    assert not fleet.grant(other).is_probe


def test_a_probe_whose_sender_left_is_followed_by_another(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    fail(fleet, target)
    first, second, third = fleet.arrive(), fleet.arrive(), fleet.arrive()
    fleet.tell(RequestFinished(first, is_cancelled=True))
    assert fleet.grant(second).is_probe
    assert third not in fleet.answers


def test_a_probe_that_fails_is_followed_by_another_after_a_longer_rest(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    fail(fleet, target)
    first, second = fleet.arrive(), fleet.arrive()
    fleet.suspect(target, "silent")
    fleet.tell(RequestFinished(first, is_cancelled=True))
    fleet.fetched("a")
    fleet.tick(0.49)
    assert second not in fleet.answers
    fleet.tick(0.01)
    assert fleet.grant(second).is_probe


def test_a_probe_that_finds_a_stale_address_proves_nothing(fleet: Fleet) -> None:
    """It has struck the target before, so that it only says ``gone`` when it fails there again."""
    target = fleet.ready("a", parallel=8)
    fail(fleet, target)
    first, second, third = fleet.arrive(), fleet.arrive(), fleet.arrive()
    fleet.suspect(target, "gone")
    fleet.finish(first)
    fleet.fetched("a")
    assert fleet.grant(second).is_probe
    assert third not in fleet.answers


def test_other_instances_are_used_meanwhile() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    sick, well = fleet.ready("a"), fleet.ready("b", parallel=10)
    fleet.suspect(sick, "silent")
    fleet.fetched("a")
    fleet.tick(0.25)
    tickets = [fleet.arrive() for _ in range(20)]
    targets = [fleet.grant(ticket).target for ticket in granted(fleet, tickets)]
    assert targets.count(sick) == 1
    assert targets.count(well) == 10


def break_it(fleet: Fleet, target: Target) -> None:
    """Let it fail three times in a row."""
    fail(fleet, target)
    for _ in range(2):
        probe = fleet.arrive()
        assert fleet.grant(probe).is_probe
        fleet.suspect(target, "silent")
        fleet.tell(RequestFinished(probe, is_cancelled=True))
        fleet.fetched("a")
        fleet.tick(2.0)


def test_what_failed_three_times_in_a_row_is_loaded_elsewhere_and_probed_still() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    target = fleet.ready("a", parallel=8)
    break_it(fleet, target)
    probe, other = fleet.arrive(), fleet.arrive()
    assert fleet.grant(probe).is_probe
    assert fleet.dispatcher.loads_under_way() == [("m", "b")]
    fleet.loaded("b")
    assert fleet.grant(other).target.node == "b"


def test_where_nothing_else_can_be_done_nobody_waits_for_what_is_broken(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=8)
    break_it(fleet, target)
    probe, other = fleet.arrive(), fleet.arrive()
    assert fleet.refusal(other).error.retryable
    fleet.tell(RequestAnswered(probe))
    assert fleet.grant(fleet.arrive()).target is target, "it works again"


def test_everything_is_at_rest_in_the_end(fleet: Fleet) -> None:
    target = fleet.ready("a", parallel=2)
    fail(fleet, target)
    tickets = [fleet.arrive() for _ in range(6)]
    for ticket in tickets:
        fleet.tell(RequestAnswered(ticket))
        fleet.finish(ticket)
    assert [fleet.grant(ticket).target for ticket in tickets] == [target] * 6
    assert fleet.is_at_rest()
