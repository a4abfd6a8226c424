"""What the pages of models show."""

import asyncio

import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report
from tests.unit.gateway.admin.dashboard.stage import desk_of
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view

from cortex.contract.error import MalformedRequest, ModelNotFound
from cortex.gateway.admin.dashboard.model_page import (
    find_row,
    look_at_model,
    look_at_models,
    model_rows,
    name_in,
    profile_of,
    prospect,
)


def fleet() -> FakeFleet:
    it = FakeFleet()
    models = [
        a_model("org/big"),
        a_model("org/cold", replicas=(), waiting=0, profile=a_profile("org/cold", aliases=("chilly",))),
        a_model("a/wanted", replicas=(), waiting=3, profile=a_profile("a/wanted")),
    ]
    it.now = a_view([a_node("beast", models=[a_report("org/big", generation=3)])], models)
    return it


def listed(**query: str) -> list[str]:
    filling = asyncio.run(look_at_models(desk_of(fleet()), query))
    assert filling["all"] == 3
    return [row.entry.id for row in filling["models"]]


def test_what_is_used_or_wanted_stands_first() -> None:
    assert listed() == ["a/wanted", "org/big", "org/cold"]


def test_the_list_is_narrowed_down_by_a_part_of_a_name_or_alias_and_by_state() -> None:
    assert listed(q="ORG/") == ["org/big", "org/cold"]
    assert listed(q="chill") == ["org/cold"]
    assert listed(status="loaded") == ["org/big"]
    assert listed(q="org", status="failed") == []


def test_a_row_has_the_instances_that_hold_memory() -> None:
    it = fleet()
    it.now = a_view([a_node("beast", models=[a_report("org/big"), a_report("org/cold", "failed")])], it.now.models)
    rows = {row.entry.id: [one.node for one in row.instances] for row in model_rows(it.view())}
    assert rows == {"a/wanted": [], "org/big": ["beast"], "org/cold": []}


def test_a_model_is_found_by_its_alias_and_an_unknown_one_is_told_what_is_near() -> None:
    view = fleet().view()
    assert find_row(view, "chilly").entry.id == "org/cold"
    with pytest.raises(ModelNotFound, match="org/cold"):
        find_row(view, "org/colt")


def test_the_page_of_a_model_explains_every_node() -> None:
    filling = asyncio.run(look_at_model(desk_of(fleet()), {"model": "big"}))
    assert filling["model"].id == "org/big"
    assert [note.verdict for note in filling["explanation"].nodes] == ["fits"]
    assert filling["prospect"].outcome == "served"
    assert filling["queue"].waiting == 1
    assert [one.node for one in filling["instances"]] == ["beast"]


def test_a_load_on_a_node_is_looked_at_though_it_is_served_elsewhere() -> None:
    assert prospect(fleet(), "org/big", None).outcome == "served"
    assert prospect(fleet(), "org/big", "beast").outcome == "loads"


@pytest.mark.parametrize("query", [{}, {"model": ""}, {"model": "x" * 2000}])
def test_a_name_has_to_be_given(query: dict[str, str]) -> None:
    with pytest.raises(MalformedRequest):
        name_in(query, "model")


def test_what_the_catalogue_does_not_have_is_nothing_in_particular() -> None:
    assert profile_of(fleet().view(), "org/none").preload is False
