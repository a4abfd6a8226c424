"""Which models the playground offers."""

import asyncio

import pytest
from tests.unit.fleet.builder import a_profile
from tests.unit.gateway.admin.dashboard.stage import Browser, desk_of
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view

from cortex.gateway.admin.dashboard.playground_page import choices_of, look_at_playground


def a_fleet() -> FakeFleet:
    fleet = FakeFleet()
    models = [
        a_model("cold", profile=a_profile("cold", aliases=("ice",)), replicas=()),
        a_model("eyes", profile=a_profile("eyes", capabilities=("chat", "vision")), replicas=()),
        a_model("org/big"),
        a_model("vectors", profile=a_profile("vectors", capabilities=("embeddings",)), replicas=()),
        a_model("found", profile=None, replicas=()),
    ]
    fleet.now = a_view(models=models)
    return fleet


def test_those_that_are_loaded_stand_first_and_those_that_do_not_chat_are_left_out() -> None:
    choices = choices_of(a_fleet().now, "")
    assert [(one.model, one.status) for one in choices] == [
        ("org/big", "loaded"),
        ("cold", "unloaded"),
        ("eyes", "unloaded"),
        ("found", "unloaded"),
    ]
    assert [one.sees for one in choices] == [False, False, True, False]


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("", "org/big"), ("ice", "cold"), ("eyes", "eyes"), ("vectors", "org/big")]
)
def test_the_one_that_is_asked_for_is_chosen_else_the_first(wanted: str, chosen: str) -> None:
    assert [one.model for one in choices_of(a_fleet().now, wanted) if one.is_chosen] == [chosen]


def test_without_a_model_the_page_says_so() -> None:
    fleet = FakeFleet()
    fleet.now = a_view(models=[])
    assert asyncio.run(look_at_playground(desk_of(fleet), {}))["choices"] == []
    assert "No model that could chat is known" in Browser(fleet=fleet).get("playground").body.decode()


def test_the_page_has_no_key_and_no_script_of_its_own() -> None:
    told = Browser(fleet=a_fleet()).get("playground", "model=ice").body.decode()
    assert '<option value="cold" data-sees="" selected>cold (ice) – unloaded' in told
    assert "ctx-" not in told
    assert "<script>" not in told
