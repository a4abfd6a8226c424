"""One generation as this gateway uses it."""

import pytest
from tests.unit.fleet.builder import an_endpoint

from cortex.fleet.replica import NO_LIMIT, Replica


def a_ready_replica() -> Replica:
    replica = Replica("m", "a", 1, 0.0)
    replica.aim(an_endpoint(url="http://a/"))
    replica.state = "ready"
    return replica


def test_target_is_made_of_the_endpoint_without_its_trailing_slash() -> None:
    target = a_ready_replica().aimed()
    assert (target.node, target.model, target.generation, target.url) == ("a", "m", 1, "http://a")


def test_endpoint_matches_with_or_without_slash_and_only_in_all_parts() -> None:
    replica = a_ready_replica()
    assert replica.matches(an_endpoint(url="http://a"))
    assert not replica.matches(an_endpoint(url="http://b"))
    assert not replica.matches(an_endpoint(generation=2, url="http://a"))
    assert not Replica("m", "a", 1, 0.0).matches(an_endpoint())


def test_replica_without_a_target_cannot_be_granted() -> None:
    with pytest.raises(ValueError, match="m on a was granted without a target"):
        Replica("m", "a", 1, 0.0).aimed()


def test_unknown_parallel_means_no_bound() -> None:
    replica = a_ready_replica()
    replica.set_parallel(2)
    assert replica.limit == 2
    for unknown in (None, 0):
        replica.set_parallel(unknown)
        assert (replica.parallel, replica.limit) == (None, NO_LIMIT)


def test_hope_lies_in_what_is_ready_or_being_asked_for() -> None:
    replica = a_ready_replica()
    assert replica.is_hopeful()
    replica.state = "pending"
    assert not replica.is_hopeful()
    replica.is_fetching = True
    assert replica.is_hopeful()
    replica.state = "draining"
    assert not replica.is_hopeful()


def test_one_that_failed_rests_and_then_gets_one_request_at_a_time() -> None:
    replica = a_ready_replica()
    replica.strike(100.0)
    replica.state = "ready"
    assert not replica.is_grantable(100.2)
    assert not replica.is_in_use(100.2), "what fails now was sent before"
    assert replica.is_grantable(100.25)
    replica.circuit.send(1)
    assert not replica.is_grantable(200.0)
    assert replica.is_in_use(200.0)
    replica.circuit.answer(1)
    assert replica.is_grantable(200.0)
