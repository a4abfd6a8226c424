"""Choosing among the replicas of one model."""

from tests.unit.fleet.builder import an_endpoint

from cortex.fleet.model import Model
from cortex.fleet.queueing import Waiting
from cortex.fleet.reconcile import succeed
from cortex.fleet.replica import Replica


def a_model(*nodes: str, parallel: int | None = None) -> Model:
    model = Model("m")
    for node in nodes:
        replica = succeed(model, node, 1, 0.0)
        replica.aim(an_endpoint(url=f"http://{node}"))
        replica.state = "ready"
        replica.set_parallel(parallel)
    model.refresh(0.0)
    return model


def picked(model: Model, *avoid: Replica) -> str | None:
    replica = model.pick(tuple(replica.aimed() for replica in avoid))
    return replica.node if replica is not None else None


def test_nobody_is_picked_where_nothing_is_ready() -> None:
    assert picked(a_model()) is None


def test_the_only_replica_is_picked_until_its_slots_are_taken() -> None:
    model = a_model("a", parallel=1)
    assert picked(model) == "a"
    model.ready[0].in_flight = 1
    assert picked(model) is None


def test_the_least_busy_is_picked_and_full_ones_are_passed_over() -> None:
    model = a_model("a", "b", "c", parallel=5)
    for replica, in_flight in zip(model.ready, (5, 4, 3), strict=True):
        replica.in_flight = in_flight
    assert {picked(model) for _ in range(6)} == {"c"}
    model.ready[2].in_flight = 5
    assert picked(model) == "b"


def test_equals_take_turns() -> None:
    model = a_model("a", "b", "c")
    assert sorted(str(picked(model)) for _ in range(6)) == ["a", "a", "b", "b", "c", "c"]


def test_avoided_targets_are_passed_over() -> None:
    model = a_model("a", "b")
    first, second = model.ready
    assert {picked(model, first) for _ in range(3)} == {"b"}
    assert picked(model, first, second) is None
    assert picked(a_model("a"), first) == "a", "another target of the same place is another target"


def test_dropped_replica_is_kept_only_while_requests_run_on_it() -> None:
    model = a_model("a", "b")
    model.replicas["a"].in_flight = 1
    model.drop("a")
    model.drop("b")
    model.drop("nowhere")
    assert [replica.node for replica in model.retired] == ["a"]
    assert not model.is_idle()
    model.retired.clear()
    assert model.is_idle()


def test_stuck_are_those_for_whom_no_replica_will_do() -> None:
    model = a_model("a")
    avoiding = Waiting(1, "m", (model.ready[0].aimed(),), 0.0)
    other = Waiting(2, "m", (), 0.0)
    model.waiting.add(avoiding)
    model.waiting.add(other)
    assert model.stuck() == [avoiding]
    model.replicas["a"].is_fetching = True
    assert model.stuck() == [], "the answer may bring another generation"


def test_who_is_ready_is_found_anew_only_where_the_one_that_changed_makes_a_difference() -> None:
    model = a_model("a", "b")
    ready = model.ready
    model.look_at("a", 0.0)
    assert model.ready is ready, "nothing is otherwise"
    model.replicas["a"].state = "suspected"
    model.look_at("a", 0.0)
    assert [replica.node for replica in model.ready] == ["b"]
    model.drop("b")
    assert model.ready == []
    model.look_at("b", 0.0)
    assert model.ready == []
