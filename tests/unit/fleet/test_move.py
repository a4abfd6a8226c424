"""Models leave a node or a harness: make before break, one move at a time, nothing forced."""

import pytest
from tests.unit.fleet.steward_builder import RULES, a_harness, a_profile, a_view, node, on_its_way, said, up

from cortex.contract.profile import Profile
from cortex.fleet.estate import COLD_S, Estate
from cortex.fleet.move import BEGIN_S, NEWS_S, RETURN_S, STUCK_S, Mover
from cortex.fleet.stewardship import Advice
from cortex.fleet.view import NodeView

WORN = (a_harness(60),)
FRESH = (a_harness(0),)
IDLE_S = RULES.defrag_idle_s


class Desk:
    """Looks at one fleet after another."""

    def __init__(self, *profiles: Profile) -> None:
        self.mover = Mover(RULES)
        self.profiles = profiles or (a_profile("m"), a_profile("n"))
        self.now_s = 1000.0
        self.advice(node("a"), after_s=0.0)
        self.now_s += BEGIN_S

    def advice(self, *nodes: NodeView, after_s: float = 1.0, **more: object) -> list[Advice]:
        self.now_s += after_s
        view = a_view(*nodes, profiles=self.profiles, **more)  # type: ignore[arg-type]
        return self.mover.advise(Estate(view, self.now_s))

    def look(self, *nodes: NodeView, **more: object) -> list[tuple[str, str, str]]:
        return said(self.advice(*nodes, **more))  # type: ignore[arg-type]


def test_what_a_node_in_maintenance_has_is_loaded_elsewhere_and_only_then_unloaded() -> None:
    desk = Desk()
    assert desk.look(node("a", up(), maintenance=True), node("b")) == [("load", "b", "m")]
    loading = node("b", on_its_way("m", "loading"))
    assert desk.look(node("a", up(), maintenance=True), loading) == []
    assert desk.look(node("a", up(busy=1), maintenance=True), node("b", up())) == [("unload", "a", "m")]
    assert desk.look(node("a", on_its_way("m", "draining"), maintenance=True), node("b", up())) == []
    assert desk.look(node("a", maintenance=True), node("b", up())) == []


def test_one_model_moves_at_a_time() -> None:
    desk = Desk()
    full = node("a", up("m"), up("n"), maintenance=True)
    first = desk.look(full, node("b"), node("c"))
    assert len(first) == 1
    assert desk.look(full, node("b"), node("c"), loading=frozenset({(first[0][1], first[0][2])})) == []


def test_a_model_that_nobody_uses_is_not_moved() -> None:
    desk = Desk()
    assert desk.look(node("a", up(idle_s=COLD_S + 1), maintenance=True), node("b")) == [("unload", "a", "m")]


def test_a_model_that_is_to_be_kept_is_moved_though_nobody_uses_it() -> None:
    desk = Desk(a_profile("m", min_replicas=1))
    assert desk.look(node("a", up(idle_s=COLD_S + 1), maintenance=True), node("b")) == [("load", "b", "m")]


def test_a_pinned_model_leaves_a_node_in_maintenance_as_well() -> None:
    assert Desk().look(node("a", up(pinned=True), maintenance=True), node("b")) == [("load", "b", "m")]


def test_for_a_node_in_maintenance_colder_ones_make_room() -> None:
    (advice,) = Desk(a_profile("m"), a_profile("v")).advice(
        node("a", up(), maintenance=True), node("b", up("v", mb=3900, idle_s=COLD_S + 1))
    )
    assert (advice.kind, advice.node, [victim.model_id for victim in advice.evict]) == ("load", "b", ["v"])


@pytest.mark.parametrize(("idle_s", "goes"), [(0.0, False), (IDLE_S - 1, False), (IDLE_S, True)])
def test_what_has_no_other_place_stays_until_it_is_idle(idle_s: float, goes: bool) -> None:
    said = Desk().look(node("a", up(idle_s=idle_s), maintenance=True), node("b", up("x", mb=3900)))
    assert said == ([("unload", "a", "m")] if goes else [])


def test_what_runs_by_itself_is_left_alone() -> None:
    assert Desk().look(node("a", up(generation=0, idle_s=9999), maintenance=True), node("b")) == []


def test_a_target_that_is_lost_is_no_other_place() -> None:
    desk = Desk()
    assert desk.look(node("a", up(), maintenance=True), node("b"), node("c", mb=3000)) == [("load", "b", "m")]
    lost = node("b", up(), is_healthy=False)
    assert desk.look(node("a", up(), maintenance=True), lost, node("c", mb=3000)) == [("load", "c", "m")]


def test_a_source_that_is_lost_ends_the_move() -> None:
    desk = Desk()
    desk.look(node("a", up(), maintenance=True), node("b"))
    assert desk.look(node("a", up(), maintenance=True, is_healthy=False), node("b", up())) == []


def test_another_steward_goes_on_where_the_last_one_stopped() -> None:
    there = (node("a", up(), maintenance=True), node("b", up()))
    assert Desk().look(*there) == [("unload", "a", "m")]
    coming = (node("a", up(), maintenance=True), node("b", on_its_way("m", "loading")))
    assert Desk().look(*coming) == [], "somebody loads it there already"


def test_a_new_steward_begins_nothing_before_it_has_heard_of_what_is_under_way() -> None:
    mover, there = Mover(RULES), (node("a", up(), maintenance=True), node("b", up()))
    assert mover.advise(Estate(a_view(*there), 0.0)) == []
    assert mover.advise(Estate(a_view(*there), BEGIN_S - 1)) == []
    leaving = node("c", on_its_way("x", "draining"), maintenance=True)
    assert mover.advise(Estate(a_view(leaving, *there), BEGIN_S)) == [], "the last one's"
    assert said(mover.advise(Estate(a_view(*there), BEGIN_S + 1))) == [("unload", "a", "m")]


def test_one_that_cannot_go_on_lets_another_go_first() -> None:
    desk = Desk()
    stuck = node("a", up(busy=1, mb=3500), maintenance=True)
    movable = node("b", up("n", mb=300), maintenance=True)
    desk.profiles = (a_profile("m", vram_mb=3500), a_profile("n", vram_mb=300))
    assert desk.look(stuck, movable, node("c", mb=1000)) == [("load", "c", "n")]
    assert desk.look(stuck, movable, node("c", up("n", mb=300), mb=1000)) == [("unload", "b", "n")]
    assert desk.look(stuck, node("b", maintenance=True), node("c", up("n", mb=300), mb=1000)) == []
    free = (stuck, node("b", maintenance=True), node("c", mb=4000))
    assert desk.look(*free, after_s=STUCK_S) == [("load", "c", "m")]


def test_two_nodes_in_maintenance_are_cleared_one_after_the_other() -> None:
    desk = Desk()
    first = desk.look(node("a", up("m"), maintenance=True), node("b", up("n"), maintenance=True), node("c"), node("d"))
    assert first == [("load", first[0][1], "m")]
    both = (node("a", up("m"), maintenance=True), node("b", up("n"), maintenance=True))
    there = first[0][1]
    other = "d" if there == "c" else "c"
    assert desk.look(*both, node(there, on_its_way("m", "loading")), node(other)) == []
    assert desk.look(*both, node(there, up("m")), node(other)) == [("unload", "a", "m")]


def test_a_worn_harness_is_restarted_when_its_models_are_loaded_elsewhere() -> None:
    desk = Desk()
    worn = node("a", up(), harnesses=WORN)
    assert desk.look(worn, node("b")) == [("load", "b", "m")]
    assert desk.look(worn, node("b", on_its_way("m", "loading"))) == []
    (restart,) = desk.advice(worn, node("b", up()))
    assert (restart.kind, restart.node, restart.harness, restart.cycles) == ("restart", "a", "llamacpp", 60)
    assert "cannot be had" not in restart.reason


def test_what_still_runs_there_is_drained_before_the_restart() -> None:
    desk = Desk()
    assert desk.look(node("a", up(busy=1), harnesses=WORN), node("b", up())) == [("unload", "a", "m")]
    draining = node("a", on_its_way("m", "draining"), harnesses=WORN)
    assert desk.look(draining, node("b", up())) == []
    assert desk.look(node("a", harnesses=(a_harness(61),)), node("b", up())) == [("restart", "a", "llamacpp")]


def test_without_another_place_it_waits_until_all_is_idle_and_says_what_cannot_be_had() -> None:
    desk = Desk()
    assert desk.look(node("a", up(idle_s=IDLE_S - 1), harnesses=WORN)) == []
    assert desk.look(node("a", up(idle_s=IDLE_S), harnesses=WORN)) == [], "it is looked at again a little later"
    (restart,) = desk.advice(node("a", up(idle_s=IDLE_S), harnesses=WORN), after_s=STUCK_S)
    assert restart.kind == "restart"
    assert "m cannot be had until that is over" in restart.reason


def test_nothing_moves_for_a_restart_that_could_not_be_made_anyway() -> None:
    desk = Desk(a_profile("m", vram_mb=300), a_profile("n", vram_mb=3000))
    worn = node("a", up("m", mb=300), up("n", mb=3000), harnesses=WORN)
    assert desk.look(worn, node("b", mb=1000)) == []


def test_nobody_is_evicted_for_a_restart() -> None:
    assert Desk().look(node("a", up(), harnesses=WORN), node("b", up("v", mb=3900, idle_s=9999))) == []


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"loading": frozenset({("a", "z")})}, id="a load of ours"),
        pytest.param({"restarting": frozenset({("a", "other")})}, id="another restart"),
        pytest.param({"unloading": frozenset({("a", "z")})}, id="an unload"),
    ],
)
def test_nothing_is_restarted_while_something_is_under_way_there(more: dict[str, object]) -> None:
    assert Desk().look(node("a", up(idle_s=999), harnesses=WORN), **more) == []
    loading = node("a", up(idle_s=999), on_its_way("z", "loading"), harnesses=WORN)
    assert Desk().look(loading) == []


def test_what_was_there_only_and_what_is_pinned_there_is_loaded_again_after_the_restart() -> None:
    desk = Desk()
    models = (up("m", idle_s=999, pinned=True), up("n", idle_s=999))
    assert desk.look(node("a", *models, harnesses=WORN), node("b", up("m"))) == [("restart", "a", "llamacpp")]
    down = node("a", harnesses=(a_harness(62),))
    assert desk.look(down, node("b", up("m")), restarting=frozenset({("a", "llamacpp")})) == []
    assert desk.look(down, node("b", up("m"))) == [], "its neuron has not told yet that it is over"
    back = node("a", harnesses=FRESH)
    assert desk.look(back, node("b", up("m"))) == [("load", "a", "m")]
    assert desk.look(node("a", on_its_way("m", "loading"), harnesses=FRESH)) == []
    assert desk.look(node("a", up("m"), harnesses=FRESH)) == [("load", "a", "n")]
    assert desk.look(node("a", up("m"), up("n"), harnesses=FRESH)) == []


def test_what_somebody_has_loaded_elsewhere_meanwhile_is_not_loaded_again_after_the_restart() -> None:
    desk = Desk()
    models = (up("m", idle_s=999), up("n", idle_s=999))
    assert desk.look(node("a", *models, harnesses=WORN), node("b")) == [("restart", "a", "llamacpp")]
    back = node("a", harnesses=FRESH)
    assert desk.look(back, node("b"), loading=frozenset({("b", "m")})) == []
    assert desk.look(back, node("b", on_its_way("m", "loading"))) == []
    assert desk.look(back, node("b", up("m"))) == [("load", "a", "n")]


def test_what_is_pinned_is_loaded_again_once_a_load_of_it_elsewhere_is_over() -> None:
    desk = Desk()
    assert desk.look(node("a", up(idle_s=999, pinned=True), harnesses=WORN)) == [("restart", "a", "llamacpp")]
    back = node("a", harnesses=FRESH)
    assert desk.look(back, node("b", on_its_way("m", "loading"))) == []
    assert desk.look(back, node("b", up("m"))) == [("load", "a", "m")]


def test_a_restart_that_is_refused_brings_nothing_back_and_is_not_asked_for_again_soon() -> None:
    desk = Desk()
    worn = node("a", up(idle_s=999), harnesses=WORN)
    assert desk.look(worn) == [("restart", "a", "llamacpp")]
    for _ in range(10):
        assert desk.look(worn, after_s=NEWS_S / 4) == []


def test_a_node_that_does_not_come_back_holds_nothing_up() -> None:
    desk = Desk()
    assert desk.look(node("a", up(idle_s=999), harnesses=WORN)) == [("restart", "a", "llamacpp")]
    gone = node("a", is_healthy=False)
    other = node("b", up("n", idle_s=999), harnesses=WORN)
    assert desk.look(gone, other) == [("restart", "b", "llamacpp")]


def test_nothing_else_is_begun_while_a_restart_is_under_way_however_long() -> None:
    desk = Desk()
    desk.look(node("a", up(idle_s=999), harnesses=WORN))
    other = node("b", up("n", idle_s=999), harnesses=WORN)
    for _ in range(3):
        going = frozenset({("a", "llamacpp")})
        assert desk.look(node("a", harnesses=WORN), other, after_s=RETURN_S, restarting=going) == []
    assert desk.look(node("a", harnesses=FRESH), other) == [("restart", "b", "llamacpp")]


def test_an_unload_for_a_maintenance_that_is_over_by_now_is_waited_for() -> None:
    desk = Desk()
    assert desk.look(node("a", up(busy=1), maintenance=True), node("b", up())) == [("unload", "a", "m")]
    other = node("c", up("n", idle_s=999), harnesses=WORN)
    undone = node("a", on_its_way("m", "draining"))
    assert desk.look(undone, node("b", up()), other, unloading=frozenset({("a", "m")})) == []
    assert desk.look(node("a"), node("b", up()), other) == [("restart", "c", "llamacpp")]
