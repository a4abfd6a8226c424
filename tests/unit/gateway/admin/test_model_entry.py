"""Models as the admin API shows them."""

import msgspec
import pytest
from tests.unit.gateway.admin.scene import a_model, a_node, a_profile, a_report, a_view

from cortex.contract.admin import LoadEntry
from cortex.fleet.load_book import Failure, Flight
from cortex.fleet.memory import LoadUnderWay
from cortex.gateway.admin.model_entry import model_entries


def test_a_model_of_the_catalogue_shows_what_stands_there() -> None:
    profile = a_profile("m", aliases=("a",), priority=5, preload=True, max_replicas=3, pinned_on=("n",), quant="Q8_0")
    (entry,) = model_entries(a_view(models=[a_model("m", profile=profile)]))
    assert (entry.in_catalogue, entry.aliases, entry.priority, entry.preload) == (True, ("a",), 5, True)
    assert (entry.max_replicas, entry.pinned_on, entry.quant, entry.harness) == (3, ("n",), "Q8_0", "llamacpp")
    assert (entry.status, entry.nodes, entry.in_flight, entry.waiting) == ("loaded", ("beast",), 2, 1)


def test_a_model_found_on_a_node_has_that_nodes_harness() -> None:
    node = a_node("n", models=[a_report("m", "unloaded")])
    (entry,) = model_entries(a_view([node], [a_model("m", profile=None, replicas=())]))
    assert (entry.in_catalogue, entry.harness, entry.status, entry.nodes) == (False, "llamacpp", "unloaded", ())


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ((), "unloaded"),
        (("failed",), "failed"),
        (("failed", "loading"), "loading"),
        (("draining", "unloaded"), "draining"),
        (("loading", "loaded"), "loaded"),
    ],
)
def test_of_several_instances_the_best_ones_state_is_the_models(statuses: tuple[str, ...], status: str) -> None:
    nodes = [a_node(f"n{number}", models=[a_report("m", state)]) for number, state in enumerate(statuses)]
    (entry,) = model_entries(a_view(nodes, [a_model("m", replicas=())]))
    assert entry.status == status


def test_a_load_that_no_node_has_told_of_yet_shows() -> None:
    (entry,) = model_entries(a_view([a_node("n")], [a_model("m", replicas=(), loading_on="n")]))
    assert entry.status == "loading"


def test_what_an_absent_node_said_last_does_not_count() -> None:
    node = a_node("n", models=[a_report("m")], is_healthy=False)
    (entry,) = model_entries(a_view([node], [a_model("m", replicas=())]))
    assert (entry.status, entry.nodes) == ("unloaded", ())


def test_loads_under_way_and_nodes_that_are_held_off_are_shown() -> None:
    load = LoadUnderWay(model="m")
    failure = Failure(
        node="b", model="m", code="oom", message="no", log_tail=("x",), failed_s=90.0, until_s=130.0, count=3
    )
    node = a_node("a", models=[a_report("m", "loading", progress=0.25)])
    model = a_model("m", replicas=(), flights=(Flight("a", "m", 88.0, load),), failures=(failure,))
    (entry,) = model_entries(msgspec.structs.replace(a_view([node], [model]), now_s=100.0))
    assert entry.loading == (LoadEntry(node="a", for_s=12.0, progress=0.25),)
    (held,) = entry.held
    assert (held.node, held.code, held.failures_in_a_row, held.retry_in_s) == ("b", "oom", 3, 30.0)
