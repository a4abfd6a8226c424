"""For every node, why a model would be loaded there or not."""

import msgspec
from tests.unit.fleet.builder import a_node, a_profile, a_report
from tests.unit.fleet.random_fleet import NOW_S, draw

from cortex.contract.instance import InstanceReport
from cortex.fleet.explain import DeviceNote, Explanation, InstanceNote, NodeNote, explain, explain_found
from cortex.fleet.fact import KnownFacts
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.plan import plan_found, plan_load
from cortex.fleet.view import NodeView


def held(model: str, mb: int = 20_000, **keys: object) -> InstanceReport:
    return a_report(model, **({"devices": (0,), "declared_mb": mb, "idle_s": 600.0} | keys))  # type: ignore[arg-type]


def told(*nodes: NodeView, facts: KnownFacts | None = None, **profile: object) -> Explanation:
    wanted = a_profile("new", **({"vram_mb": 16_000} | profile))
    return explain(wanted, nodes, facts or KnownFacts(), "lru", NOW_S)


def only(node: NodeView, **keys: object) -> NodeNote:
    (note,) = told(node, **keys).nodes  # type: ignore[arg-type]
    return note


def test_every_node_is_told_of_the_ones_with_a_plan_first() -> None:
    found = told(
        NodeView(name="unknown", why="refused"),
        a_node("small", (8000,)),
        a_node("busy", free_mb=[2000], models=[held("x", in_flight=1)]),
        a_node("swap", free_mb=[2000], models=[held("x")]),
        a_node("free"),
        a_node("silent", free_mb=[None]),
        a_node("there", models=[a_report("new")]),
    )
    assert [(note.node, note.verdict, note.rank) for note in found.nodes] == [
        ("there", "has_it", 1),
        ("free", "fits", 2),
        ("silent", "may_fit", 3),
        ("swap", "evicts", 4),
        ("busy", "waits", None),
        ("unknown", "cannot_now", None),
        ("small", "never", None),
    ]
    assert (found.model, found.need_mb, found.strategy, found.priority) == ("new", 16_000, "lru", 0)


def test_what_is_missing_is_told_of_each_device_and_who_makes_room() -> None:
    models = [held("x", 18_000), held("y", 3000, idle_s=5.0), held("p", 2000, pinned=True)]
    note = only(a_node("a", (24_000, 8000), free_mb=[1000, 7500], models=models, headroom_mb=500))
    assert note.why == "has room on device 0 once x (idle for 600 s) has gone"
    assert note.devices == (
        DeviceNote(
            index=0, name="GPU", total_mb=24_000, free_mb=500, strangers_mb=0, need_mb=16_000, missing_mb=15_500
        ),
        DeviceNote(index=1, name="GPU", total_mb=8000, free_mb=7000, strangers_mb=500),
    )
    assert note.instances[0] == InstanceNote(
        model="x",
        status="loaded",
        devices=(0,),
        held_mb=18_000,
        idle_s=600.0,
        goes=True,
        why="could go (idle for 600 s)",
    )
    assert [(instance.model, instance.goes, instance.why) for instance in note.instances[1:]] == [
        ("y", False, "could go (idle for 5 s)"),
        ("p", False, "is pinned"),
    ]
    assert note.cost_s == round(sum(note.terms.values()), 3)


def test_obstacle_tells_who_would_have_to_go_and_when_to_ask_again() -> None:
    note = only(a_node("a", free_mb=[4000], models=[held("x", protected_s=42.0)]))
    assert (note.verdict, note.code, note.retry_in_s) == ("waits", "protected", 42.0)
    assert note.why == "x was loaded not long ago and stays for 42 s"
    assert (note.instances[0].goes, note.devices[0].missing_mb) == (True, 12_000)


def test_node_out_of_the_question_shows_its_devices_all_the_same() -> None:
    note = only(a_node("a", (8000,)))
    assert (note.code, note.why) == ("too_big", "16000 MiB do not fit on 1 device of up to 8000 MiB")
    assert note.devices == (DeviceNote(index=0, name="GPU", total_mb=8000, free_mb=8000, strangers_mb=0),)
    assert only(NodeView(name="a")).devices == ()


def test_room_that_is_promised_to_our_own_loads_does_not_show_as_free() -> None:
    facts = KnownFacts(loads={"a": [LoadUnderWay(model="other", need_mb=4000, devices=(0,))]})
    assert only(a_node("a"), facts=facts).devices[0].free_mb == 20_000


def test_explanation_is_json_and_agrees_with_the_plan() -> None:
    for seed in range(100):
        case = draw(seed)
        found = explain(case.profile, case.nodes, case.facts, case.strategy, NOW_S)
        assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found
        assert sorted(note.node for note in found.nodes) == sorted(node.name for node in case.nodes)
        plans = plan_load(case.profile, case.nodes, case.facts, case.strategy, NOW_S).plans
        ranked = [note for note in found.nodes if note.rank is not None]
        assert [note.node for note in ranked][: len(plans)] == [plan.placement.node for plan in plans]
        for note, plan in zip(ranked, plans, strict=False):
            goes = {instance.model for instance in note.instances if instance.goes}
            assert goes == {victim.model_id for victim in plan.victims}
            assert (note.cost_s, note.why) == (plan.cost_s, plan.why)


def test_of_a_model_found_on_nodes_only_those_that_list_it_can_do_anything() -> None:
    nodes = [
        a_node("has", models=[a_report("m")]),
        a_node("had", models=[a_report("m", "unloaded")]),
        a_node("gone", models=[a_report("m")], is_healthy=False, why="refused"),
        a_node("other"),
    ]
    found = explain_found("m", nodes, KnownFacts(), "lru", NOW_S)
    assert [(note.node, note.verdict, note.rank) for note in found.nodes] == [
        ("has", "has_it", 1),
        ("had", "may_fit", 2),
        ("gone", "cannot_now", None),
        ("other", "never", None),
    ]


def test_of_a_model_found_on_nodes_it_is_told_who_makes_room_and_what_is_in_the_way() -> None:
    listed = a_report("m", "unloaded")
    nodes = [
        a_node("busy", free_mb=[2000], models=[listed, held("x", in_flight=1)]),
        a_node("swap", free_mb=[2000], models=[listed, held("x")]),
        a_node("free", models=[listed]),
        a_node("kept", free_mb=[2000], models=[a_report("m", "unloaded", pinned=True), held("x")]),
    ]
    facts = KnownFacts(needs_mb={"m": 16_000})
    found = explain_found("m", nodes, facts, "lru", NOW_S)
    assert [(note.node, note.verdict, note.rank) for note in found.nodes] == [
        ("kept", "evicts", 1),
        ("free", "fits", 2),
        ("swap", "evicts", 3),
        ("busy", "waits", None),
    ]
    assert [plan.placement.node for plan in plan_found("m", nodes, facts, "lru", NOW_S).plans] == [
        "kept",
        "free",
        "swap",
    ]
    assert [(instance.model, instance.goes) for instance in found.nodes[2].instances] == [("x", True)]
    assert found.need_mb == 16_000
