"""Nodes that are taken out and back: what is shown to become of their models."""

import asyncio

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_report
from tests.unit.gateway.admin.dashboard.stage import call_of, desk_of
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view

from cortex.contract.admin import ExplainQuery
from cortex.contract.error import NodeNotFound
from cortex.fleet.explain import Explanation, InstanceNote, NodeNote
from cortex.fleet.view import ReplicaView
from cortex.gateway.admin.dashboard.node_action import Move, drain, moves_from, show_drain, show_undrain, undrain

VICTIM = InstanceNote(model="old", status="loaded", devices=(0,), held_mb=5, idle_s=3.0, goes=True, why="could go")


class Fleet(FakeFleet):
    def __init__(self, *notes: NodeNote, report: object = None) -> None:
        super().__init__()
        self.notes = notes
        held = report or a_report("org/big", generation=3)
        self.now = a_view([a_node("beast", models=[held]), a_node("benjy")])  # type: ignore[list-item]

    def explain(self, query: ExplainQuery) -> Explanation:
        return Explanation(model=query.model, strategy="lru", priority=0, need_mb=1, nodes=self.notes)


def move(fleet: Fleet) -> Move:
    (one,) = moves_from(fleet, fleet.view(), "beast")
    return one


def test_a_model_is_loaded_where_it_fits_best_before_it_leaves() -> None:
    notes = (
        NodeNote(node="beast", verdict="has_it", why="is there", rank=1),
        NodeNote(node="far", verdict="fits", why="fits", rank=3),
        NodeNote(node="near", verdict="evicts", why="once old has gone", rank=2, instances=(VICTIM,)),
    )
    assert move(Fleet(*notes))[1:] == ("is loaded on near first, then unloaded here", ("old",))


def test_one_that_has_no_room_elsewhere_stays_until_it_is_idle() -> None:
    note = NodeNote(node="benjy", verdict="never", why="too big")
    assert move(Fleet(note)).words == "stays until it is idle: no other node has room for it"


def test_one_that_serves_elsewhere_just_leaves() -> None:
    fleet = Fleet()
    there = ReplicaView(node="benjy", generation=1, is_ready=True, in_flight=0, parallel=1, last_used_s=0.0)
    nodes = [fleet.now.nodes[0], a_node("benjy", models=[a_report("org/big")])]
    fleet.now = a_view(nodes, [a_model(replicas=(there,))])
    assert move(fleet).words == "is unloaded: benjy has it"


def test_a_cold_one_leaves_unless_it_is_pinned() -> None:
    cold = a_report("org/big", generation=3, idle_s=600.0)
    assert "nobody has used it for 10 min" in move(Fleet(report=cold)).words
    assert "stays until" in move(Fleet(report=msgspec.structs.replace(cold, pinned=True))).words


def test_what_runs_by_itself_stays() -> None:
    fleet = Fleet()
    fleet.now = a_view([a_node("beast", models=[a_report("org/big", generation=0)])], [a_model(replicas=())])
    assert move(fleet).words == "stays: it runs by itself"


def test_what_holds_nothing_is_not_shown() -> None:
    fleet = Fleet()
    fleet.now = a_view([a_node("beast", models=[a_report("a", "failed"), a_report("b", "unloaded")])], [])
    assert moves_from(fleet, fleet.view(), "beast") == ()


def test_a_node_is_taken_out_and_back() -> None:
    fleet = Fleet()
    call = call_of({"node": "beast"}, {"node": "beast"})
    for act in (show_drain, show_undrain):
        assert asyncio.run(act(desk_of(fleet), call)).filling["node"] == "beast"
    assert fleet.asked == []
    for act in (drain, undrain):
        asyncio.run(act(desk_of(fleet), call))
    assert fleet.asked == [("beast", True), ("beast", False)]


def test_a_node_that_is_not_there_is_told_what_is_near() -> None:
    call = call_of({"node": "beats"})
    with pytest.raises(NodeNotFound, match="beast"):
        asyncio.run(show_drain(desk_of(Fleet()), call))
