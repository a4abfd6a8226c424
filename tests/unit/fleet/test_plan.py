"""Where to load a model: node, devices and victims together."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport, Victim
from cortex.contract.node import HarnessDetail
from cortex.contract.profile import Variant
from cortex.fleet.fact import KnownFacts
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.plan import MOST_LOOKED_AT, MOST_PLANS, Plan, Plans, plan_found, plan_load
from cortex.fleet.view import NodeView

NOW_S = 1000.0


def held(model: str, mb: int = 20_000, **keys: object) -> InstanceReport:
    return a_report(model, **({"devices": (0,), "declared_mb": mb, "generation": 7, "idle_s": 600.0} | keys))  # type: ignore[arg-type]


def full(name: str, *models: InstanceReport, **keys: object) -> NodeView:
    return a_node(name, (24_000,), **({"free_mb": [4000], "models": models or (held("x"),)} | keys))  # type: ignore[arg-type]


def plans(*nodes: NodeView, facts: KnownFacts | None = None, **profile: object) -> Plans:
    wanted = a_profile("new", **({"vram_mb": 16_000} | profile))
    return plan_load(wanted, nodes, facts or KnownFacts(), "lru", NOW_S)


def where(found: Plans) -> list[str]:
    return [plan.placement.node for plan in found.plans]


def best(*nodes: NodeView, **keys: object) -> Plan:
    return plans(*nodes, **keys).plans[0]  # type: ignore[arg-type]


def test_another_node_with_room_comes_before_a_swap_here() -> None:
    found = plans(full("a"), a_node("b", free_mb=[16_000]))
    assert where(found) == ["b", "a"]
    assert found.plans[0].victims == ()
    assert found.plans[1].victims == (Victim(model_id="x", generation=7),)


def test_order_is_has_it_then_pinned_then_free_then_unknown_then_swap() -> None:
    nodes = [
        full("swap"),
        a_node("silent", free_mb=[None]),
        a_node("free"),
        full("pinned"),
        full("loading", a_report("new", "loading"), held("x")),
        full("loaded", a_report("new"), held("x")),
    ]
    first = plans(*nodes, pinned_on=("pinned",))
    assert where(first) == ["loaded", "loading", "pinned", "free"]
    assert where(plans(*nodes[:3])) == ["free", "silent", "swap"]
    assert [plan.placement.has_it for plan in first.plans] == [True, True, False, False]
    assert len(first.plans) == MOST_PLANS


def test_of_equal_nodes_the_one_with_most_free_memory_then_a_hash_decides() -> None:
    assert where(plans(a_node("a", free_mb=[17_000]), a_node("b", free_mb=[20_000]))) == ["b", "a"]
    firsts = {plan_load(a_profile(f"m{at}"), [a_node(name) for name in "abcdef"], KnownFacts(), "lru", NOW_S).plans[0]
              .placement.node for at in range(40)}  # fmt: skip
    assert len(firsts) == 6, "models spread over equal nodes"


def test_node_where_the_model_loads_quicker_is_preferred() -> None:
    slow, quick = a_report("new", "unloaded", load_s=90.0), a_report("new", "unloaded", load_s=20.0)
    found = plans(a_node("a", models=[slow]), a_node("b", free_mb=[16_000], models=[quick]), a_node("c"))
    assert where(found) == ["b", "a", "c"]
    assert dict(found.plans[0].terms) == {"load_s": 20.0}
    assert dict(found.plans[2].terms) == {"load_s": 90.0}, "nobody saw it there: no quicker than the slowest"


def test_load_queues_behind_others_on_the_same_node() -> None:
    busy = a_node("a", models=[held("y", 1000, status="loading")])
    found = plans(busy, a_node("b", free_mb=[17_000]))
    assert where(found) == ["b", "a"]
    assert dict(found.plans[1].terms) == {"load_s": 35.0, "queue_s": 35.0}
    ours = KnownFacts(loads={"b": [LoadUnderWay(model="y", need_mb=10), LoadUnderWay(model="z", need_mb=10)]})
    assert where(plans(busy, a_node("b"), facts=ours)) == ["a", "b"]


def test_the_cheapest_swap_of_the_fleet_comes_first() -> None:
    nodes = [
        full("a", held("x", idle_s=5.0)),
        full("b", held("x", idle_s=90_000.0)),
        full("c", held("x", idle_s=900.0)),
    ]
    found = plans(*nodes)
    assert where(found) == ["b", "c", "a"]
    assert [round(dict(plan.terms)["reload_s"]) for plan in found.plans] == [0, 12, 30]
    assert found.plans[1].cost_s == pytest.approx(sum(seconds for _, seconds in found.plans[1].terms))


def test_room_that_our_own_load_will_take_is_not_given_away_twice() -> None:
    facts = KnownFacts(loads={"a": [LoadUnderWay(model="y", need_mb=16_000, devices=(0,))]})
    assert where(plans(a_node("a"), a_node("b", free_mb=[16_000]), facts=facts)) == ["b"]


def test_plan_with_victims_says_by_which_version_of_the_node_they_were_chosen() -> None:
    node = msgspec.structs.replace(full("a"), start_id="life", event=41)
    plan = best(node)
    assert (plan.basis_start_id, plan.basis_event) == ("life", 41)
    plan = best(msgspec.structs.replace(a_node("a"), start_id="life", event=41))
    assert (plan.basis_start_id, plan.basis_event) == (None, None), "one without can be tried by an old picture"
    assert best(full("a")).basis_event is None, "a neuron without versions"


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (a_node("a"), "has room on device 0"),
        (a_node("a", free_mb=[None]), "may have room on device 0, nobody knows"),
        (full("a"), "has room on device 0 once x (idle for 600 s) has gone"),
        (full("a", held("x", 12_000, idle_s=None), held("y", 12_000), free_mb=[0]),
         "has room on device 0 once y (idle for 600 s) and x (idle for nobody knows how long) have gone"),
        (full("a", a_report("new")), "has it loaded already"),
    ],
    ids=["free", "unknown", "one victim", "two victims", "has it"],
)  # fmt: skip
def test_plan_says_why(node: NodeView, why: str) -> None:
    assert best(node).why == why


def test_model_without_devices_has_room_everywhere() -> None:
    plan = best(a_node("a", ()), min_devices=0, vram_mb=None)
    assert (plan.placement.devices, plan.why) == ((), "has what it takes, which is no device")


def test_profile_of_two_devices_only_goes_to_a_node_with_two() -> None:
    found = plans(full("one"), a_node("one-free"), a_node("two", (24_000, 24_000)), min_devices=2)
    assert where(found) == ["two"]
    assert found.plans[0].placement.devices == (0, 1)


def test_two_devices_are_cleared_together() -> None:
    models = [held("x", devices=(0,)), held("y", devices=(1,)), held("z", 2000, devices=(1,))]
    node = a_node("a", (24_000, 24_000), free_mb=[4000, 2000], models=models)
    plan = best(node, vram_mb=32_000, min_devices=2)
    assert plan.placement.devices == (0, 1)
    assert [victim.model_id for victim in plan.victims] == ["x", "y"]


def test_need_that_was_seen_stands_in_for_one_that_nobody_declared() -> None:
    facts = KnownFacts(needs_mb={"new": 16_000})
    assert best(full("a"), vram_mb=None).victims == (), "unknown is not zero, and not too much either"
    assert best(full("a"), vram_mb=None, facts=facts).victims != ()
    found = plans(a_node("small", (8000,)), vram_mb=None, facts=facts)
    assert [rejection.reason for rejection in found.rejected] == ["is too small for what the model was seen to need"]


def test_what_a_harness_needs_is_what_is_planned_for_it() -> None:
    details = (
        HarnessDetail(name="fast", kind="vllm", usable=True),
        HarnessDetail(name="llamacpp", kind="llamacpp", usable=True),
    )
    node = full("a", details=details, harnesses=["fast", "llamacpp"])
    plan = best(node, variants={"vllm": Variant(vram_mb=3000)})
    assert (plan.placement.harness, plan.victims) == ("fast", ()), "it fits there, and nobody has to go"
    plan = best(node, variants={"vllm": Variant(vram_mb=15_000)})
    assert plan.placement.harness == "llamacpp", "of equals its own"


def test_where_there_is_no_plan_every_node_says_why_not() -> None:
    found = plans(
        full("busy", held("x", in_flight=1)),
        a_node("small", (8000,)),
        a_node("down", is_healthy=False, why="refused"),
        NodeView(name="unknown"),
    )
    assert found.plans == ()
    assert [(wait.node, wait.code) for wait in found.waits] == [("busy", "busy")]
    assert {rejection.node: rejection.code for rejection in found.rejected} == {
        "small": "too_big", "down": "unhealthy", "unknown": "not_discovered",
    }  # fmt: skip
    assert found.may_come()
    assert plans(a_node("down", is_healthy=False)).may_come()
    assert not plans(a_node("small", (8000,))).may_come()


def test_patient_plans_are_ranked_like_others() -> None:
    found = plans(
        full("soon", held("x", protected_s=5.0)), full("late", held("x", protected_s=90.0)),
        full("pinned", held("x", protected_s=300.0)), pinned_on=("pinned",),
    )  # fmt: skip
    assert [plan.placement.node for plan in found.patient] == ["pinned", "soon", "late"]


def test_of_very_many_obstacles_some_are_worked_out_and_the_others_counted() -> None:
    nodes = [full(f"n{at}", held("x", in_flight=1), free_mb=[at * 10]) for at in range(MOST_LOOKED_AT + 5)]
    found = plans(*nodes)
    assert (len(found.waits), found.waits_left_out) == (MOST_LOOKED_AT, 5)
    assert found.waits[0].node == f"n{MOST_LOOKED_AT + 4}"


def test_no_nodes_no_plan() -> None:
    assert plans() == Plans()


def found_plans(*nodes: NodeView, **facts: object) -> Plans:
    return plan_found("new", nodes, KnownFacts(**facts), "lru", NOW_S)  # type: ignore[arg-type]


def test_model_outside_the_catalogue_is_loaded_where_it_was_found_on_devices_of_the_neurons_choice() -> None:
    found = found_plans(a_node("a"), a_node("b", models=[a_report("new", "unloaded")]), full("c", a_report("new")))
    assert [(plan.placement.node, plan.placement.devices) for plan in found.plans] == [("c", None), ("b", None)]
    assert found.rejected == ()


def test_somebody_goes_for_a_model_outside_the_catalogue_once_its_need_was_seen() -> None:
    node = full("a", held("x"), a_report("new", "unloaded"))
    (plan,) = found_plans(node, needs_mb={"new": 16_000}).plans
    assert (plan.placement.devices, [victim.model_id for victim in plan.victims]) == (None, ["x"])
    (plan,) = found_plans(node).plans
    assert plan.victims == ()


def test_model_outside_the_catalogue_has_obstacles_and_rejections_too() -> None:
    busy = full("a", held("x", in_flight=1), a_report("new", "unloaded"))
    down = a_node("b", models=[a_report("new")], is_healthy=False, why="refused")
    found = found_plans(busy, down, needs_mb={"new": 16_000})
    assert [wait.code for wait in found.waits] == ["busy"]
    assert [plan.placement.node for plan in found.patient] == ["a"]
    assert [rejection.code for rejection in found.rejected] == ["unhealthy"]
    assert found_plans(a_node("a")) == Plans()


def test_room_that_strangers_take_between_two_samples_moves_the_plan_and_is_then_told() -> None:
    """A foreign process takes 8 GB: nobody is evicted for it, and nothing is tried that cannot work."""
    assert where(plans(a_node("a", free_mb=[18_000]), a_node("b", free_mb=[17_000]))) == ["a", "b"]
    taken = a_node("a", free_mb=[10_000])
    assert where(plans(taken, a_node("b", free_mb=[17_000]))) == ["b"]
    assert [(wait.node, wait.code) for wait in plans(taken).waits] == [("a", "strangers")]


def test_models_of_equal_rank_take_turns_and_of_unequal_rank_one_stays() -> None:
    def displaced(newcomer: str, resident: str, ranks: dict[str, int]) -> list[str]:
        profiles = {name: a_profile(name, vram_mb=16_000, priority=rank) for name, rank in ranks.items()}
        node = full("a", held(resident))
        found = plan_load(profiles[newcomer], [node], KnownFacts(profiles=profiles), "priority", NOW_S)
        return [victim.model_id for plan in found.plans for victim in plan.victims]

    assert displaced("m", "n", {"m": 3, "n": 3}) == ["n"]
    assert displaced("n", "m", {"m": 3, "n": 3}) == ["m"]
    assert displaced("m", "n", {"m": 3, "n": 1}) == ["n"]
    assert displaced("n", "m", {"m": 3, "n": 1}) == []
