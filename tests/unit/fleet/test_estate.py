"""Who has what, who could have what, and who could go for it, as a steward sees it."""

import pytest
from tests.unit.fleet.steward_builder import a_profile, an_estate, node, on_its_way, up

from cortex.fleet.estate import COLD_S, Estate
from cortex.fleet.stewardship import Advice, ModelStand, StewardView


def test_what_a_node_in_maintenance_has_serves_and_does_not_stay() -> None:
    estate = an_estate(node("a", up(), maintenance=True), node("b", up()))
    assert [one.node for one in estate.up("m")] == ["b"]
    assert [one.node for one in estate.elsewhere("m", "b")] == []
    assert [one.model for one in estate.on("a")] == ["m"]


def test_a_node_that_has_just_fallen_silent_counts_on_and_is_nobodys_other_place() -> None:
    silent = node("b", up(), is_healthy=False)
    assert [one.node for one in an_estate(node("a"), silent).up("m")] == ["b"]
    assert an_estate(node("a", up()), silent).elsewhere("m", "a") == []
    assert an_estate(node("a"), silent, lost=["b"]).up("m") == []


@pytest.mark.parametrize(
    "asked", [{"unloading": frozenset({("a", "m")})}, {"restarting": frozenset({("a", "llamacpp")})}]
)
def test_what_was_asked_to_go_is_no_place_any_more_though_its_node_has_not_said_so(asked: dict[str, object]) -> None:
    estate = an_estate(node("a", up()), node("b", up()), **asked)
    assert [one.node for one in estate.up("m")] == ["b"]
    assert estate.elsewhere("m", "b") == []
    assert estate.is_leaving("m")


def test_loads_of_others_and_of_this_gateway_are_coming() -> None:
    estate = an_estate(node("a", on_its_way("m", "loading")), node("b"), loading=frozenset({("b", "n")}))
    assert (set(estate.coming("m")), set(estate.coming("n"))) == ({"a"}, {"b"})
    assert estate.is_in_motion("a")
    assert estate.is_in_motion("b")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"unloading": frozenset({("a", "m")})}, id="an unload"),
        pytest.param({"restarting": frozenset({("a", "llamacpp")})}, id="a restart"),
    ],
)
def test_a_node_with_something_of_ours_under_way_is_in_motion(more: dict[str, object]) -> None:
    assert an_estate(node("a", up()), **more).is_in_motion("a")
    assert not an_estate(node("a", up())).is_in_motion("a")


def test_a_model_is_placed_where_it_fits_and_where_nothing_else_is_being_loaded() -> None:
    profiles = [a_profile(vram_mb=1500)]
    full = node("full", up("x", mb=3000))
    estate = an_estate(
        node("has", up(mb=1500)),
        full,
        node("loads", on_its_way("y", "loading")),
        node("shut", maintenance=True),
        node("down", is_healthy=False),
        node("failed"),
        node("free"),
        profiles=profiles,
        held=frozenset({("failed", "m")}),
    )
    assert [placement.node for placement in estate.targets("m")] == ["free"]


def test_what_is_advised_in_the_same_tick_takes_the_place() -> None:
    estate = an_estate(node("a"), profiles=[a_profile("m"), a_profile("n")])
    placement = estate.targets("m")[0]
    estate.note(Advice(kind="load", node="a", model="m", placement=placement, reason=""))
    assert estate.targets("n") == []
    assert set(estate.coming("m")) == {"a"}


def test_a_model_that_says_no_need_is_taken_at_what_it_was_seen_to_need() -> None:
    bare = a_profile(vram_mb=None)
    assert an_estate(node("a"), profiles=[bare]).targets("m") == []
    assert len(an_estate(node("a"), profiles=[bare]).targets("m", is_certain=False)) == 1
    seen = an_estate(node("a", up(mb=3000)), node("small", mb=2000), node("large"), profiles=[bare])
    assert [placement.node for placement in seen.targets("m")] == ["large"]


COLD = COLD_S + 1


@pytest.mark.parametrize(
    ("tenant", "of", "goes"),
    [
        pytest.param(up("v", idle_s=COLD, mb=3500), {}, True, id="cold and of equal rank"),
        pytest.param(up("v", idle_s=10, mb=3500), {}, False, id="warm and of equal rank"),
        pytest.param(up("v", idle_s=10, mb=3500), {"priority": -1}, True, id="warm and of lower rank"),
        pytest.param(up("v", busy=1, mb=3500), {"priority": -1}, False, id="busy"),
        pytest.param(up("v", idle_s=COLD, mb=3500, waiting=1), {}, False, id="waited for"),
        pytest.param(up("v", idle_s=COLD, mb=3500, pinned=True), {}, False, id="pinned"),
        pytest.param(up("v", idle_s=COLD, mb=3500, protected_s=9.0), {}, False, id="protected"),
        pytest.param(up("v", idle_s=COLD, mb=3500), {"priority": 1}, False, id="of higher rank"),
        pytest.param(up("v", idle_s=COLD, mb=3500), {"min_replicas": 1}, False, id="to be kept"),
        pytest.param(up("v", idle_s=COLD, mb=3500), {"preload": True}, False, id="preloaded"),
        pytest.param(up("v", idle_s=COLD, mb=3500, generation=0), {}, False, id="of a server that runs by itself"),
    ],
)
def test_who_makes_room_unasked(tenant: object, of: dict[str, object], goes: bool) -> None:
    profiles = [a_profile("m", vram_mb=1000), a_profile("v", **of)]
    cleared = an_estate(node("a", tenant), profiles=profiles).clearable("m")  # type: ignore[arg-type]
    assert (cleared is not None) is goes
    if cleared is not None:
        placement, victims = cleared
        assert (placement.node, [victim.model_id for victim in victims]) == ("a", ["v"])


def test_no_more_go_than_it_takes_and_the_coldest_first() -> None:
    tenants = (up("a", idle_s=COLD, mb=1500), up("b", idle_s=COLD + 9, mb=1500), up("c", idle_s=COLD + 5, mb=900))
    cleared = an_estate(node("n", *tenants), profiles=[a_profile(vram_mb=1600)]).clearable("m")
    assert cleared is not None
    assert [victim.model_id for victim in cleared[1]] == ["b"]
    crowded = an_estate(
        node("n", *tenants), node("one", up("d", idle_s=COLD, mb=3900)), profiles=[a_profile(vram_mb=2400)]
    )
    found = crowded.clearable("m")
    assert found is not None
    assert [victim.model_id for victim in found[1]] == ["d"], "one goes rather than two"


def test_who_waits_counts_in_whichever_gateway_it_does() -> None:
    assert an_estate(node("a", up(waiting=3)), waiting={"m": 1}).waiting("m") == 3
    assert an_estate(node("a", up()), waiting={"m": 2}).waiting("m") == 2


def test_what_this_gateway_knows_better_counts() -> None:
    stand = ModelStand(id="m", in_flight={"a": 2}, idle_s={"b": 5.0})
    view = StewardView(nodes=(node("a", up(idle_s=99)), node("b", up(idle_s=99))), models=(stand,))
    first, second = Estate(view, 0.0).up("m")
    assert (first.in_flight, first.idle_s, first.is_saturated) == (2, 0.0, True)
    assert (second.in_flight, second.idle_s, second.is_saturated) == (0, 5.0, False)


def test_an_engine_without_a_limit_always_takes_more() -> None:
    (one,) = an_estate(node("a", up(busy=50, parallel=None))).up("m")
    assert not one.is_saturated


def test_a_model_that_the_catalogue_does_not_know_can_only_go_back_to_where_it_was() -> None:
    estate = an_estate(node("a", on_its_way("found", "unloaded")), node("b"))
    assert estate.targets("found", is_certain=False) == []
    home = estate.home("found", "a")
    assert home is not None
    assert (home.node, home.harness) == ("a", "llamacpp")
    assert estate.home("found", "b") is None
