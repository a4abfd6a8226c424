"""What a node's memory is at its last sample."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_report

from cortex.contract.node import DeviceReading
from cortex.fleet.memory import LoadUnderWay, NodeMemory
from cortex.fleet.view import NodeView


def memory_of(node: NodeView) -> NodeMemory:
    assert node.memory is not None
    return node.memory


def test_strangers_named_by_the_neuron_count_as_they_are() -> None:
    node = a_node(vram_mb=(10_000,))
    assert node.health is not None
    reading = DeviceReading(index=0, vram_free_mb=None, strangers_mb=3000)
    node = msgspec.structs.replace(node, health=msgspec.structs.replace(node.health, devices=(reading,)))
    assert memory_of(node).free_mb == {0: 7000}


def test_memory_is_made_once_of_a_view_and_anew_of_its_successor() -> None:
    node = a_node()
    assert node.memory is node.memory
    assert msgspec.structs.replace(node, models=(a_report("x", devices=(0,)),)).memory is not node.memory
    assert NodeView(name="silent").memory is None


def test_room_counts_those_who_have_gone() -> None:
    node = a_node(vram_mb=(10_000,), free_mb=[2000], models=[a_report("x", devices=(0,), declared_mb=8000)])
    assert memory_of(node).has_room(9000, (0,)) is False
    assert memory_of(node).has_room(9000, (0,), without=["x"]) is True
    assert memory_of(node).held_mb("x") == {0: 8000}
    assert memory_of(node).held_mb("y") == {}


@pytest.mark.parametrize(
    ("keys", "is_idle"),
    [
        ({}, True),
        ({"status": "loading"}, False),
        ({"status": "draining"}, False),
        ({"pinned": True}, False),
        ({"in_flight": 1}, False),
        ({"waiting": 1}, False),
        ({"silent_s": 0.0}, False),
        ({"protected_s": 9.0}, True),
    ],
    ids=["idle", "loading", "draining", "pinned", "busy", "waited for", "silent", "protected, which passes"],
)
def test_who_could_go_as_far_as_the_node_knows(keys: dict[str, object], is_idle: bool) -> None:
    report = a_report("x", devices=(0,), **keys)  # type: ignore[arg-type]
    assert memory_of(a_node(models=[report])).idle == ((report,) if is_idle else ())


def test_load_of_ours_that_the_node_does_not_report_yet_is_counted_with_its_victims_leaving() -> None:
    old = a_report("old", devices=(0,), declared_mb=6000)
    memory = memory_of(a_node(vram_mb=(10_000,), free_mb=[4000], models=[old]))
    load = LoadUnderWay(model="new", need_mb=8000, devices=(0,), victims=("old",))
    assert memory.beside([load]).free_mb == {0: 2000}
    seen = memory_of(
        a_node(vram_mb=(10_000,), free_mb=[10_000], models=[a_report("new", "loading", devices=(0,), declared_mb=8000)])
    )
    assert seen.beside([load]) is seen
    assert seen.free_mb == {0: 2000}
