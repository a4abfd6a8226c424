"""Copies of the books."""

from tests.unit.fleet.builder import Fleet, a_profile

from cortex.fleet.view import ReplicaView


def test_picture_shows_replicas_waiters_and_loads() -> None:
    fleet = Fleet(["a", "b"], [a_profile("m"), a_profile("l")])
    fleet.ready("a", "m", generation=3, parallel=1)
    fleet.arrive("m")
    fleet.arrive("m")
    fleet.arrive("l")
    view = fleet.dispatcher.view(fleet.now_s)
    assert [node.name for node in view.nodes] == ["a", "b"]
    loading, loaded = view.models
    assert (loading.id, loading.waiting, loading.replicas) == ("l", 1, ())
    assert loading.loading_on in ("a", "b")
    assert (loaded.id, loaded.waiting, loaded.loading_on) == ("m", 1, None)
    assert loaded.replicas == (
        ReplicaView(node="a", generation=3, is_ready=True, in_flight=1, parallel=1, last_used_s=fleet.now_s),
    )


def test_picture_does_not_change_afterwards() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a")
    before = fleet.dispatcher.view(fleet.now_s)
    fleet.arrive()
    fleet.lost("a")
    assert before.models[0].replicas[0].in_flight == 0
    assert before.nodes[0].is_healthy


def test_queues_show_who_waits_in_their_order_and_whose_they_are() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("l")])
    fleet.ready("a", "m", parallel=1)
    fleet.arrive("m")
    for caller in ("x", "x", "y"):
        fleet.arrive("m", caller=caller)
        fleet.now_s += 1
    fleet.arrive("l")
    first, second = fleet.dispatcher.queues(fleet.now_s)
    assert (first.model, first.waiting, first.oldest_wait_s, first.by_caller) == ("m", 3, 3.0, {"x": 2, "y": 1})
    assert [waiter.caller for waiter in first.upcoming] == ["x", "y", "x"]
    assert [waiter.waited_s for waiter in first.upcoming] == [3.0, 1.0, 2.0]
    assert (second.model, second.waiting) == ("l", 1)


def test_loads_under_way_and_nodes_that_are_held_off_show() -> None:
    fleet = Fleet(["a", "b"], [a_profile("m")])
    fleet.arrive("m")
    (model,) = fleet.dispatcher.view(fleet.now_s).models
    (flight,) = model.flights
    assert (flight.model, flight.started_s, model.failures) == ("m", fleet.now_s, ())
    fleet.load_failed(flight.node, "m", code="engine_failed")
    (model,) = fleet.dispatcher.view(fleet.now_s).models
    (failure,) = model.failures
    assert (failure.node, failure.code) == (flight.node, "engine_failed")
    assert [other.node for other in model.flights] == [node for node in ("a", "b") if node != flight.node]
    fleet.now_s = failure.until_s
    assert fleet.dispatcher.view(fleet.now_s).models[0].failures == ()
