"""The dispatcher and its queues: who is let in, whose turn it is, and that nobody is left behind."""

from collections.abc import Iterable

import pytest
from tests.unit.fleet.builder import Fleet, a_profile

from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.effect import Grant, Refuse
from cortex.fleet.queueing import QueueBound


def a_fleet(*, max_waiting: int = 1000, max_waiting_per_caller: int = 1000, is_up: bool = True) -> Fleet:
    """Return a fleet of one node that is ready to serve one request at a time."""
    fleet = Fleet(["a"], [a_profile()], is_up=False)
    bound = QueueBound(max_waiting=max_waiting, max_waiting_per_caller=max_waiting_per_caller)
    fleet.dispatcher = Dispatcher(["a"], [a_profile()], policy=Policy(bound=bound), started_s=fleet.now_s)
    if is_up:
        fleet.discover("a")
        fleet.ready("a", parallel=1)
    return fleet


def codes(fleet: Fleet, tickets: Iterable[int]) -> list[str]:
    """Return what became of requests: granted, waiting, or the code of their refusal."""
    found = []
    for ticket in tickets:
        (answer,) = fleet.answers.get(ticket, [None])
        found.append("waiting" if answer is None else answer.error.code if isinstance(answer, Refuse) else "granted")
    return found


def test_what_is_loaded_serves_those_too_who_may_cause_no_load() -> None:
    fleet = a_fleet()
    tickets = [fleet.arrive(no_load_s=90.0) for _ in range(2)]
    assert codes(fleet, tickets) == ["granted", "waiting"]


def test_a_queue_lets_so_many_in_and_no_more() -> None:
    fleet = a_fleet(max_waiting=2)
    tickets = [fleet.arrive() for _ in range(5)]
    assert codes(fleet, tickets) == ["granted", "waiting", "waiting", "queue_full", "queue_full"]
    refused = fleet.refusal(tickets[3])
    assert refused.error.retryable
    assert refused.model == "m"
    fleet.finish(tickets[0])
    assert codes(fleet, [fleet.arrive(), fleet.arrive()]) == ["waiting", "queue_full"]


def test_a_caller_may_have_so_many_waiting_and_others_do_not_suffer() -> None:
    fleet = a_fleet(max_waiting_per_caller=1)
    tickets = [fleet.arrive(caller=caller) for caller in "aaabb"]
    assert codes(fleet, tickets) == ["granted", "waiting", "too_many_requests", "waiting", "too_many_requests"]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_name_that_is_not_known_yet_has_a_bounded_queue_too(leaves: bool) -> None:
    fleet = a_fleet(max_waiting=2, is_up=False)
    tickets = [fleet.arrive("found") for _ in range(3)]
    assert codes(fleet, tickets) == ["waiting", "waiting", "queue_full"]
    if leaves:
        fleet.finish(tickets[0])
        assert codes(fleet, [fleet.arrive("found")]) == ["waiting"]
    fleet.discover("a")
    fleet.ready("a", "found", parallel=1)
    assert codes(fleet, tickets[1:2]) == ["granted" if leaves else "waiting"]


def test_a_caller_with_one_request_goes_before_the_rest_of_anothers() -> None:
    fleet = a_fleet()
    tickets = [fleet.arrive(caller=caller) for caller in "aaaaab"]
    order = []
    for _ in tickets:
        (running,) = [ticket for ticket in tickets if codes(fleet, [ticket]) == ["granted"] and ticket not in order]
        order.append(running)
        fleet.finish(running)
    assert [tickets.index(ticket) for ticket in order] == [0, 1, 5, 2, 3, 4]
    assert fleet.is_at_rest()


def test_a_thousand_that_leave_while_they_wait_leave_nothing() -> None:
    fleet = a_fleet()
    first = fleet.arrive()
    tickets = [fleet.arrive(caller=str(number % 7)) for number in range(1000)]
    for ticket in tickets:
        assert fleet.finish(ticket) == []
    assert fleet.dispatcher.waiting() == 0
    assert fleet.counts() == {("m", "a"): 1}
    fleet.finish(first)
    assert fleet.is_at_rest()
    assert isinstance(fleet.answers[fleet.arrive()][0], Grant)
