"""The sentences of refusals."""

from cortex.fleet import refusal
from cortex.fleet.load_book import Failure
from cortex.fleet.outlook import Outlook
from cortex.fleet.placement import Placements, Rejection
from cortex.fleet.view import NodeView

REJECTED = Placements(
    rejected=(
        Rejection("a", "unhealthy", "is not healthy (refused)"),
        Rejection("b", "too_few_devices", "has 1 device"),
    )
)

SEE_TO_IT = "Try again; if it stays so, have the operator see that cortex-neuron runs there and can be reached."


def test_no_healthy_node_names_each_with_its_reason() -> None:
    found = refusal.no_healthy_node([NodeView(name="a", why="refused"), NodeView(name="b", why="")])
    assert found.message == f"No node is healthy (a: refused; b: unknown). {SEE_TO_IT}"
    assert found.details == {"nodes": {"a": "refused", "b": ""}}


def test_model_that_absent_nodes_could_serve_names_only_those() -> None:
    found = refusal.nobody_yet("m", REJECTED)
    assert found.message == f"No healthy node can serve 'm' now: a is not healthy (refused). {SEE_TO_IT}"
    assert found.retryable
    assert found.details["nodes"] == {"a": "is not healthy (refused)", "b": "has 1 device"}


def test_model_whose_harness_cannot_be_used_says_where_to_look() -> None:
    found = refusal.nobody_yet("m", Placements(rejected=(Rejection("a", "harness_unusable", "has no binary"),)))
    advice = "Try again; if it stays so, have the operator see there what 'cortex-neuron check' says."
    assert found.message == f"No healthy node can serve 'm' now: a has no binary. {advice}"


def test_model_that_never_fits_names_what_each_node_lacks() -> None:
    found = refusal.never_fits("m", Placements(rejected=REJECTED.rejected[1:]))
    assert found.message == "No node of this fleet can serve 'm': b: has 1 device."
    assert not found.retryable


def test_failed_load_names_node_cause_and_next_try() -> None:
    failure = Failure(
        node="a", model="m", code="oom", message="out of memory", log_tail=("x",), failed_s=0, until_s=5, count=2
    )
    found = refusal.load_failed(failure, 3.14159)
    assert found.message == "'m' could not be loaded on a: out of memory"
    assert found.details == {
        "model": "m",
        "node": "a",
        "cause": "oom",
        "log_tail": ["x"],
        "failures_in_a_row": 2,
        "retry_in_s": 3.1,
    }


def test_who_asks_for_too_much_is_told_apart_from_who_comes_too_late() -> None:
    own, all_of_them = (refusal.queue_full("m", why, 1000) for why in ("caller_full", "full"))
    assert (own.code, all_of_them.code) == ("too_many_requests", "queue_full")
    assert own.retryable
    assert all_of_them.retryable
    assert all_of_them.details == {"model": "m", "state": "queued", "waiting": 1000}


def test_who_has_waited_in_vain_is_told_what_is_known() -> None:
    outlook = Outlook(state="loading", node="a", progress=0.4, eta_s=30.0)
    found = refusal.still_waiting("m", outlook, 300.04)
    assert found.message == (
        "'m' is not there yet (loading on a, 40 %, about 30 s); this request waited 300 s. Try again."
    )
    assert found.details == {
        "model": "m", "state": "loading", "node": "a", "progress": 0.4, "eta_s": 30.0, "retry_in_s": 30.0,
        "waited_s": 300.0,
    }  # fmt: skip
    assert refusal.still_waiting("m", Outlook(state="queued"), 1.0).details == {
        "model": "m",
        "state": "queued",
        "waited_s": 1.0,
    }


def test_the_others_are_sentences_too() -> None:
    assert refusal.vanished("m").code == "model_not_found"
    assert refusal.no_slot("m", 61).message == "Every slot of 'm' was busy for 61 s. Try again."
    none_left = refusal.all_tried("m")
    assert none_left.code == "upstream_unreachable"
    assert "or those just before it" in none_left.message  # it may not even have been sent
