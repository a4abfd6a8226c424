"""How many replicas there are, and that they do not come and go."""

import pytest
from tests.unit.fleet.steward_builder import RULES, a_profile, a_view, node, on_its_way, said, up

from cortex.contract.profile import Profile
from cortex.fleet.estate import Estate
from cortex.fleet.scaling import LOOK_AGAIN_S, MOST_LOADS, Scaling
from cortex.fleet.view import NodeView


class Desk:
    """Looks at one fleet after another, with time passing in between."""

    def __init__(self, *profiles: Profile) -> None:
        self.scaling = Scaling(RULES)
        self.profiles = profiles
        self.now_s = 1000.0

    def look(self, *nodes: NodeView, after_s: float = 1.0, **more: object) -> list[tuple[str, str, str]]:
        self.now_s += after_s
        view = a_view(*nodes, profiles=self.profiles, **more)  # type: ignore[arg-type]
        return said(self.scaling.advise(Estate(view, self.now_s)))


def test_a_model_gets_its_least_number_of_replicas_one_after_the_other() -> None:
    desk = Desk(a_profile(min_replicas=2))
    first = desk.look(node("a"), node("b"), node("c"))
    assert [(kind, model) for kind, _, model in first] == [("load", "m")]
    there = first[0][1]
    others = [name for name in "abc" if name != there]
    assert desk.look(*(node(name) for name in "abc"), loading=frozenset({(there, "m")})) == []
    second = desk.look(node(there, up()), *(node(name) for name in others))
    assert second[0][0] == "load"
    assert second[0][1] in others
    assert desk.look(node(there, up()), node(second[0][1], up()), node("z")) == []


def test_one_that_failed_lately_is_tried_on_another_node() -> None:
    desk = Desk(a_profile(min_replicas=1))
    assert desk.look(node("a"), node("b", mb=3000), held=frozenset({("a", "m")})) == [("load", "b", "m")]
    assert desk.look(node("a"), held=frozenset({("a", "m")})) == []


def test_a_preload_is_loaded_once_and_may_be_unloaded_for_being_idle() -> None:
    desk = Desk(a_profile(preload=True))
    assert desk.look(node("a", is_healthy=False)) == []
    assert desk.look(node("a"), after_s=LOOK_AGAIN_S) == [("load", "a", "m")]
    assert desk.look(node("a", on_its_way("m", "loading"))) == []
    assert desk.look(node("a", up())) == []
    assert desk.look(node("a")) == [], "it was there"


def test_a_preload_makes_colder_ones_of_no_higher_rank_leave() -> None:
    desk = Desk(a_profile(preload=True, vram_mb=3000), a_profile("v", vram_mb=3000))
    assert desk.look(node("a", up("v", idle_s=10, mb=3000))) == []
    desk.now_s += LOOK_AGAIN_S
    (advice,) = desk.scaling.advise(
        Estate(a_view(node("a", up("v", idle_s=1000, mb=3000)), profiles=desk.profiles), desk.now_s)
    )
    assert (advice.kind, advice.node, [victim.model_id for victim in advice.evict]) == ("load", "a", ["v"])


def test_those_of_higher_rank_come_first_and_a_node_gets_one_at_a_time() -> None:
    desk = Desk(a_profile("low", preload=True), a_profile("high", preload=True, priority=5))
    assert desk.look(node("a")) == [("load", "a", "high")]
    fleet = (node("a"), node("b"))
    assert {model for _, _, model in desk.look(*fleet, after_s=LOOK_AGAIN_S)} == {"low", "high"}


def test_so_many_loads_at_once_and_no_more() -> None:
    desk = Desk(*(a_profile(f"m{number}", preload=True) for number in range(20)))
    assert len(desk.look(*(node(f"n{number}") for number in range(20)))) == MOST_LOADS


def test_of_a_large_fleet_nobody_looks_at_all_nodes_again_and_again() -> None:
    profiles = [a_profile(f"m{number}", min_replicas=1, vram_mb=9999) for number in range(50)]
    desk, fleet = Desk(*profiles), [node(f"n{number}", mb=2000) for number in range(200)]
    looks = []
    for _ in range(10):
        estate = Estate(a_view(*fleet, profiles=profiles), desk.now_s)
        list(desk.scaling.advise(estate))
        looks.append(len(estate._found))
        desk.now_s += 0.5
    assert sum(looks) <= 6


BUSY = {"busy": 2}


def test_a_model_that_is_waited_for_long_enough_gets_one_more_where_it_fits() -> None:
    desk = Desk(a_profile(max_replicas=2))
    fleet = (node("a", up(**BUSY)), node("b"))
    assert desk.look(*fleet, waiting={"m": 3}) == []
    assert desk.look(*fleet, waiting={"m": 3}, after_s=RULES.scale_after_s - 1) == []
    assert desk.look(*fleet, waiting={"m": 3}) == [("load", "b", "m")]
    assert desk.look(node("a", up(**BUSY)), node("b", on_its_way("m", "loading")), waiting={"m": 3}) == []
    full = (node("a", up(**BUSY)), node("b", up(**BUSY)), node("c"))
    for _ in range(5):
        assert desk.look(*full, waiting={"m": 9}, after_s=RULES.scale_after_s) == [], "two are the most"


@pytest.mark.parametrize(
    ("profile", "first", "second", "waiting"),
    [
        pytest.param({"max_replicas": 2}, up(**BUSY), node("b"), 0, id="nobody waits"),
        pytest.param({"max_replicas": 2}, up(busy=1), node("b"), 3, id="it has a slot free"),
        pytest.param({}, up(**BUSY), node("b"), 3, id="nobody said that there may be more"),
        pytest.param({"max_replicas": 1}, up(**BUSY), node("b"), 3, id="there may be one only"),
        pytest.param({"max_replicas": 2}, up(**BUSY), node("b", up("x", idle_s=9999, mb=3500)), 3, id="one had to go"),
        pytest.param({"max_replicas": 2}, up(**BUSY), node("b", maintenance=True), 3, id="the other is in maintenance"),
        pytest.param({"max_replicas": 2, "vram_mb": 9000}, up(**BUSY), node("b"), 3, id="it does not fit"),
    ],
)
def test_nothing_grows_when(profile: dict[str, object], first: object, second: NodeView, waiting: int) -> None:
    desk = Desk(a_profile(**profile))
    for _ in range(10):
        assert desk.look(node("a", first), second, waiting={"m": waiting}, after_s=20.0) == []  # type: ignore[arg-type]


def test_a_queue_that_is_empty_now_and_then_is_a_blip() -> None:
    desk = Desk(a_profile(max_replicas=2))
    for turn in range(40):
        waiting = {"m": 0 if turn % 4 == 3 else 2}
        assert desk.look(node("a", up(**BUSY)), node("b"), waiting=waiting, after_s=8.0) == []


def test_queues_in_other_gateways_count_as_well() -> None:
    desk = Desk(a_profile(max_replicas=2))
    fleet = (node("a", up(busy=2, waiting=4)), node("b"))
    assert desk.look(*fleet) == []
    assert desk.look(*fleet, after_s=RULES.scale_after_s) == [("load", "b", "m")]


def test_a_replica_that_nobody_needs_goes_when_it_has_been_idle_for_long() -> None:
    desk = Desk(a_profile(max_replicas=3))
    assert desk.look(node("a", up(idle_s=290)), node("b", up(idle_s=299)), after_s=9999.0) == []
    assert desk.look(node("a", up(idle_s=310)), node("b", up(idle_s=320))) == [("unload", "b", "m")]
    assert desk.look(node("a", up(idle_s=310)), node("b", on_its_way("m", "draining"))) == []
    assert desk.look(node("a", up(idle_s=9999)), node("b")) == [], "the last one stays"


def test_after_somebody_has_waited_nothing_goes_for_as_long() -> None:
    desk = Desk(a_profile(max_replicas=2))
    assert desk.look(node("a", up(**BUSY)), node("b", up(idle_s=400)), waiting={"m": 1}) == []
    assert desk.look(node("a", up()), node("b", up(idle_s=400)), after_s=RULES.scale_idle_s - 1) == []
    assert desk.look(node("a", up()), node("b", up(idle_s=700))) == [("unload", "b", "m")]


@pytest.mark.parametrize(
    ("profile", "nodes"),
    [
        pytest.param({}, (node("a", up(idle_s=9999)), node("b", up(idle_s=9999))), id="of a model without limits"),
        pytest.param(
            {"min_replicas": 2}, (node("a", up(idle_s=9999)), node("b", up(idle_s=9999))), id="below the least"
        ),
        pytest.param(
            {"max_replicas": 2}, (node("a", up(idle_s=9999, pinned=True)), node("b", up(busy=1))), id="pinned by hand"
        ),
        pytest.param(
            {"max_replicas": 2, "pinned_on": ("a",)}, (node("a", up(idle_s=9999)), node("b", up())), id="pinned"
        ),
        pytest.param(
            {"max_replicas": 2}, (node("a", up(idle_s=9999, generation=0)), node("b", up())), id="run by somebody else"
        ),
    ],
)
def test_no_replica_goes(profile: dict[str, object], nodes: tuple[NodeView, ...]) -> None:
    assert Desk(a_profile(**profile)).look(*nodes, after_s=9999.0) == []


def test_one_that_came_back_with_its_node_is_too_many_and_goes_later() -> None:
    desk = Desk(a_profile(min_replicas=1))
    assert desk.look(node("a", up()), node("b", up())) == []
    assert desk.look(node("a", up()), node("b", up(idle_s=301))) == [("unload", "b", "m")]


def test_more_than_the_limit_shrink_as_soon_as_one_is_quiet() -> None:
    desk = Desk(a_profile(max_replicas=1))
    assert desk.look(node("a", up(busy=1)), node("b", up(idle_s=5))) == []
    assert desk.look(node("a", up(busy=1)), node("b", up(idle_s=11))) == [("unload", "b", "m")]


def test_a_node_that_is_lost_is_replaced_and_one_that_is_only_silent_is_not() -> None:
    desk = Desk(a_profile(min_replicas=2))
    fleet = (node("a", up()), node("b", up(), is_healthy=False), node("c"))
    assert desk.look(*fleet) == []
    view = a_view(*fleet, profiles=desk.profiles)
    assert said(desk.scaling.advise(Estate(view, desk.now_s, ("b",)))) == [("load", "c", "m")]


def test_a_model_that_was_taken_out_of_the_catalogue_and_put_back_begins_anew() -> None:
    desk = Desk(a_profile(max_replicas=2))
    fleet = (node("a", up(**BUSY)), node("b"))
    desk.look(*fleet, waiting={"m": 3})
    profiles, desk.profiles = desk.profiles, ()
    assert desk.look(*fleet, waiting={"m": 3}, after_s=RULES.scale_after_s) == []
    desk.profiles = profiles
    assert desk.look(*fleet, waiting={"m": 3}) == []
