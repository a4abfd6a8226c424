"""What would happen to a request, from what is known of the model and what is explained of the nodes."""

import pytest

from cortex.contract.admin import ExplainQuery, PlanQuery
from cortex.fleet.explain import DeviceNote, Explanation, InstanceNote, NodeNote
from cortex.fleet.load_book import Failure, Flight
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.prospect import Prospect, prospect_of, what_if
from cortex.fleet.view import ModelView, ReplicaView

GOES = InstanceNote(model="old", status="loaded", devices=(1,), held_mb=9, idle_s=5.0, goes=True, why="idle for 5 s")
STAYS = InstanceNote(model="dear", status="loaded", devices=(0,), held_mb=9, idle_s=1.0, goes=False, why="pinned")
PLANNED = NodeNote(
    node="a",
    verdict="evicts",
    why="old has to go",
    rank=2,
    cost_s=7.0,
    terms={"load_s": 4.0, "reload_s": 3.0},
    devices=(
        DeviceNote(index=0, name="GPU", total_mb=10),
        DeviceNote(index=1, name="GPU", total_mb=10, need_mb=8),
    ),
    instances=(STAYS, GOES),
)
BEST = NodeNote(node="b", verdict="fits", why="fits free memory", rank=1)
BUSY = NodeNote(node="c", verdict="waits", why="its victims are busy", code="busy", retry_in_s=9.0)
HELD = NodeNote(node="d", verdict="waits", why="it failed there", code="held", retry_in_s=3.0)
LOADING = NodeNote(node="h", verdict="waits", why="another load is first", code="loading", retry_in_s=2.0)
DRAINED = NodeNote(node="g", verdict="waits", why="is in maintenance", code="maintenance")
GONE = NodeNote(node="e", verdict="cannot_now", why="is not healthy", code="unhealthy")
SMALL = NodeNote(node="f", verdict="never", why="is too small", code="too_big")


def explained(*notes: NodeNote) -> Explanation:
    return Explanation(model="m", strategy="lru", priority=0, need_mb=8, nodes=notes)


def a_model(*replicas: ReplicaView, waiting: int = 0, **keys: object) -> ModelView:
    return ModelView(id="m", profile=None, replicas=replicas, waiting=waiting, loading_on=None, **keys)  # type: ignore[arg-type]


def a_replica(node: str, in_flight: int = 0, parallel: int | None = None, *, is_ready: bool = True) -> ReplicaView:
    return ReplicaView(
        node=node, generation=1, is_ready=is_ready, in_flight=in_flight, parallel=parallel, last_used_s=0.0
    )


def told(explanation: Explanation, model: ModelView | None = None, node: str | None = None) -> tuple[str, str | None]:
    found = prospect_of(explanation, model, node)
    return found.outcome, found.node


def test_what_is_loaded_serves_where_least_is_under_way() -> None:
    model = a_model(a_replica("x", 3), a_replica("y", 1), a_replica("z", is_ready=False))
    assert told(explained(BEST), model) == ("served", "y")


def test_what_is_loaded_and_busy_says_who_waits() -> None:
    found = prospect_of(explained(), a_model(a_replica("x", 2, parallel=2), waiting=5), None)
    assert found.reason == "it is loaded there; all slots are busy, 5 wait"


def test_a_load_under_way_is_joined_but_not_one_elsewhere() -> None:
    model = a_model(flights=(Flight("a", "m", 0.0, LoadUnderWay(model="m")),))
    assert told(explained(BEST), model) == ("joins", "a")
    assert told(explained(BEST), model, "b") == ("loads", "b")


def test_a_node_that_has_it_is_not_loaded_again() -> None:
    has_it = NodeNote(node="i", verdict="has_it", why="has it loaded already", rank=1)
    found = prospect_of(explained(has_it, PLANNED), a_model(), None)
    assert (found.outcome, found.node, found.reason) == ("joins", "i", "has it loaded already")


def test_the_best_plan_is_told_whole() -> None:
    assert told(explained(PLANNED, BEST)) == ("loads", "b")
    assert prospect_of(explained(PLANNED, BEST), None, "a") == Prospect(
        model="m",
        outcome="loads",
        node="a",
        devices=(1,),
        evicts=(GOES,),
        cost_s=7.0,
        terms={"load_s": 4.0, "reload_s": 3.0},
        reason="old has to go",
    )


def test_where_something_has_to_pass_first_the_soonest_is_told() -> None:
    found = prospect_of(explained(BUSY, LOADING, GONE), None, None)
    assert (found.outcome, found.node, found.retry_in_s) == ("waits", "h", 2.0)


@pytest.mark.parametrize(("code", "outcome"), [("no_room", "waits"), ("engine_failed", "refused")])
def test_a_node_that_said_no_is_asked_again_and_one_that_failed_is_told(code: str, outcome: str) -> None:
    failure = Failure(node="d", model="m", code=code, message="no", log_tail=(), failed_s=0.0, until_s=3.0, count=1)
    found = prospect_of(explained(HELD), a_model(failures=(failure,)), None)
    assert (found.outcome, found.retry_in_s) == (outcome, 3.0)


def test_what_only_an_operator_ends_is_not_waited_for() -> None:
    found = prospect_of(explained(DRAINED), None, None)
    assert (found.outcome, found.reason) == ("refused", "g is in maintenance")


def test_what_cannot_be_now_and_what_can_never_be_are_told_apart() -> None:
    assert told(explained(GONE, SMALL)) == ("refused", None)
    assert told(explained(GONE, SMALL), node="f") == ("never", None)
    assert prospect_of(explained(SMALL), None, None).reason == "f is too small"
    assert prospect_of(explained(), None, None).reason == "there is no node"


def test_only_what_is_asked_differently_is_changed() -> None:
    assert what_if(ExplainQuery(model="m")) == {}
    assert what_if(PlanQuery(model="m", node="a")) == {}
    assert what_if(PlanQuery(model="m", vram_mb=5, min_devices=0)) == {"vram_mb": 5, "min_devices": 0}
