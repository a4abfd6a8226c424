"""The dispatcher as a transcript: what happened, what is to be done. Granting, samples, hygiene."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report, fetches, loads

from cortex.fleet.effect import FetchEndpoint, Grant, Refuse


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["a", "b"], [a_profile()])


def test_request_for_a_ready_replica_is_granted_at_once(fleet: Fleet) -> None:
    target = fleet.ready("a")
    (grant,) = fleet.arrive_for("m")
    assert isinstance(grant, Grant)
    assert grant.target is target
    assert not grant.is_cold_start


def test_alias_leads_to_the_same_replica() -> None:
    fleet = Fleet(["a"], [a_profile(aliases=("default", "gpt-4"))])
    target = fleet.ready("a")
    assert fleet.grant(fleet.arrive("gpt-4")).target is target


def test_finished_request_brings_the_count_back_to_zero(fleet: Fleet) -> None:
    fleet.ready("a")
    tickets = [fleet.arrive() for _ in range(3)]
    assert fleet.counts() == {("m", "a"): 3}
    for ticket in tickets:
        fleet.finish(ticket)
    assert fleet.is_at_rest()


def test_requests_go_to_the_replica_with_fewest_in_flight(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.ready("b")
    by_node: dict[str, list[int]] = {"a": [], "b": []}
    for _ in range(6):
        ticket = fleet.arrive()
        by_node[fleet.grant(ticket).target.node].append(ticket)
    assert [len(tickets) for tickets in by_node.values()] == [3, 3]
    for ticket in by_node["b"]:
        fleet.finish(ticket)
    assert {fleet.grant(fleet.arrive()).target.node for _ in range(3)} == {"b"}


def test_ties_between_idle_replicas_take_turns(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.ready("b")
    nodes = []
    for _ in range(4):
        ticket = fleet.arrive()
        nodes.append(fleet.grant(ticket).target.node)
        fleet.finish(ticket)
    assert sorted(nodes) == ["a", "a", "b", "b"]


def test_more_requests_than_slots_wait_in_order_of_arrival(fleet: Fleet) -> None:
    fleet.ready("a", parallel=1)
    first, second, third = fleet.arrive(), fleet.arrive(), fleet.arrive()
    assert fleet.dispatcher.waiting() == 2
    fleet.finish(first)
    assert fleet.grant(second).target.node == "a"
    assert third not in fleet.answers
    fleet.finish(second)
    assert not fleet.grant(third).is_cold_start
    fleet.finish(third)
    assert fleet.is_at_rest()


def test_cancelled_waiter_is_not_granted_and_leaves_no_trace(fleet: Fleet) -> None:
    fleet.ready("a", parallel=1)
    running, leaver, patient = fleet.arrive(), fleet.arrive(), fleet.arrive()
    fleet.finish(leaver)
    fleet.finish(running)
    assert leaver not in fleet.answers
    assert fleet.grant(patient)
    fleet.finish(patient)
    assert fleet.is_at_rest()


def test_finishing_a_ticket_twice_or_an_unknown_one_changes_nothing(fleet: Fleet) -> None:
    fleet.ready("a")
    ticket = fleet.arrive()
    assert fleet.finish(ticket) == fleet.finish(ticket) == fleet.finish(4711) == []
    assert fleet.is_at_rest()


def test_last_accessed_updated_on_request(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.now_s += 50
    ticket = fleet.arrive()

    def last_used_s() -> float:
        return fleet.dispatcher.view(fleet.now_s).models[0].replicas[0].last_used_s

    assert last_used_s() == fleet.now_s
    fleet.now_s += 30
    fleet.finish(ticket)
    assert last_used_s() == fleet.now_s


def test_loaded_model_of_unknown_generation_has_its_endpoint_asked_for_once(fleet: Fleet) -> None:
    assert fleet.sample("a", a_report()) == [FetchEndpoint("a", "m")]
    fleet.now_s += 1
    assert fleet.sample("a", a_report()) == []


def test_request_waits_for_the_endpoint_of_a_loaded_model_without_a_cold_start(fleet: Fleet) -> None:
    fleet.sample("a", a_report())
    assert fleet.arrive_for("m") == []
    fleet.fetched("a")
    assert not fleet.grant(1).is_cold_start


def test_model_gone_from_a_sample_is_not_granted_while_its_requests_run_on() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a")
    running = fleet.arrive()
    fleet.now_s += 10
    fleet.sample("a")
    assert fleet.counts() == {("m", "a"): 1}
    assert loads(fleet.arrive_for("m")) == ["a"]
    fleet.loaded("a", generation=2)
    fleet.finish(running)
    fleet.finish(2)
    assert fleet.is_at_rest()


def test_draining_model_is_not_granted_until_the_drain_is_undone() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    target = fleet.ready("a")
    fleet.ready("b")
    fleet.now_s += 10
    fleet.sample("a", a_report(status="draining"))
    assert {fleet.grant(fleet.arrive()).target.node for _ in range(4)} == {"b"}
    fleet.now_s += 10
    assert fleet.sample("a", a_report(status="loaded")) == [], "the same generation needs no new endpoint"
    assert fleet.grant(fleet.arrive()).target is target


def test_sample_asked_before_the_load_ended_does_not_take_the_replica_away() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.arrive()
    asked_s = fleet.now_s
    fleet.now_s += 5
    fleet.loaded("a")
    fleet.sample("a", a_report(status="loading"), asked_s=asked_s)
    assert fleet.grant(fleet.arrive())


def test_sample_of_an_older_event_is_dropped_whole(fleet: Fleet) -> None:
    fleet.sample("a", a_report(), start_id="s", event=7)
    fleet.fetched("a")
    fleet.now_s += 1
    fleet.sample("a", start_id="s", event=6)
    assert fleet.grant(fleet.arrive())


def test_new_generation_gets_a_target_of_its_own(fleet: Fleet) -> None:
    first = fleet.ready("a")
    second = fleet.ready("a", generation=2)
    assert first is not second
    assert fleet.grant(fleet.arrive()).target is second


def test_the_same_endpoint_told_again_keeps_its_target(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.fetched("a")
    assert fleet.grant(fleet.arrive()).target is target


def test_restarted_neuron_is_asked_for_the_endpoint_again_while_requests_run_on(fleet: Fleet) -> None:
    fleet.sample("a", a_report(), start_id="one")
    fleet.fetched("a")
    fleet.now_s += 10
    assert fetches(fleet.sample("a", a_report(), start_id="two")) == ["a"]
    assert fleet.grant(fleet.arrive())


def test_late_endpoint_of_an_older_generation_is_not_used(fleet: Fleet) -> None:
    fleet.sample("a", a_report(generation=2))
    fleet.fetched("a", generation=1)
    fleet.arrive()
    assert fleet.answers == {}


def test_a_thousand_cancelled_waiters_leave_nothing_behind() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a", parallel=1)
    running = fleet.arrive()
    waiters = [fleet.arrive() for _ in range(1000)]
    for ticket in waiters:
        fleet.finish(ticket)
    fleet.finish(running)
    assert fleet.is_at_rest()
    assert list(fleet.answers) == [running]


def test_waiters_for_a_model_that_is_refused_do_not_touch_waiters_of_another() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    fleet.arrive("m")
    other = fleet.arrive("n")
    fleet.load_failed("a", "m")
    assert isinstance(fleet.answers[1][0], Refuse)
    assert other not in fleet.answers
    fleet.loaded("a", "n")
    assert fleet.grant(other)


def test_unknown_nodes_and_models_in_news_are_ignored() -> None:
    fleet = Fleet(["a"], [a_profile()])
    assert fleet.sample("stranger", a_report()) == []
    assert fleet.fetched("a", "nobody") == []
    assert fleet.fetch_failed("a", "nobody") == []
    assert fleet.load_failed("a", "nobody") == []
    assert fleet.lost("stranger") == []
    assert fleet.dispatcher.canonical_id("m") == "m"
    assert fleet.dispatcher.canonical_id("nobody") == ""
