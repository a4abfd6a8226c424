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
