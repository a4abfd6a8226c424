"""A steward at work: replicas kept, grown and taken, and what a restart or a stale picture must not cause."""

from tests.unit.fleet.steward_builder import a_harness, a_profile, a_view, node, said, up
from tests.unit.fleet.toy_fleet import some_profiles

from cortex.fleet.steward import ASK_AGAIN_S, Steward
from cortex.fleet.stewardship import StewardRules
from cortex.fleet.view import NodeView


def test_nothing_is_done_before_the_fleet_is_known() -> None:
    steward, profile = Steward(), a_profile(min_replicas=1)
    assert steward.advise(a_view(node("a"), profiles=[profile], is_settled=False), 0.0) == []
    assert said(steward.advise(a_view(node("a"), profiles=[profile]), 1.0)) == [("load", "a", "m")]


def test_a_node_that_was_never_heard_may_have_it_for_a_while() -> None:
    steward, profile = Steward(), a_profile(min_replicas=1)
    view = a_view(node("a"), NodeView(name="b"), profiles=[profile])
    assert steward.advise(view, 0.0) == []
    assert steward.advise(view, StewardRules().lost_after_s - 1) == []
    assert said(steward.advise(view, StewardRules().lost_after_s)) == [("load", "a", "m")]


def test_a_neuron_that_is_restarted_causes_no_second_load() -> None:
    steward, profile = Steward(), a_profile(min_replicas=1)
    lost_after_s = StewardRules().lost_after_s
    away = a_view(node("a", up(), is_healthy=False), node("b"), profiles=[profile])
    assert steward.advise(a_view(node("a", up()), node("b"), profiles=[profile]), 0.0) == []
    assert steward.advise(away, 1.0) == []
    assert steward.advise(away, lost_after_s) == []
    assert steward.advise(a_view(node("a", up()), node("b"), profiles=[profile]), lost_after_s + 1) == []
    assert steward.advise(away, lost_after_s + 2) == []
    assert said(steward.advise(away, 2 * lost_after_s + 2)) == [("load", "b", "m")]


def test_a_model_that_is_moved_is_not_loaded_twice_for_its_number_of_replicas() -> None:
    steward, profile = Steward(), a_profile(min_replicas=1)
    view = a_view(node("a", up(), maintenance=True), node("b"), node("c"), profiles=[profile])
    assert [kind for kind, _, _ in said(steward.advise(view, 0.0))] == ["load"]


def test_an_unload_that_came_to_nothing_is_not_asked_for_with_every_look() -> None:
    steward = Steward()
    view = a_view(node("a", up(), maintenance=True), node("b", up()))
    assert steward.advise(view, 0.0) == []
    assert said(steward.advise(view, 100.0)) == [("unload", "a", "m")]
    assert steward.advise(view, 101.0) == []
    assert said(steward.advise(view, 100.0 + ASK_AGAIN_S)) == [("unload", "a", "m")]


def test_two_stewards_with_the_same_picture_say_the_same() -> None:
    profiles = some_profiles()
    view = a_view(*(node(f"n{number}", harnesses=[a_harness(9)]) for number in range(5)), profiles=profiles)
    assert Steward().advise(view, 0.0) == Steward().advise(view, 0.0)
