"""One look at all nodes for one model."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report
from tests.unit.fleet.random_fleet import NOW_S, draw

from cortex.contract.node import HarnessDetail
from cortex.fleet.eviction import Newcomer, tenants_of
from cortex.fleet.fact import KnownFacts
from cortex.fleet.seat import EVICT, EVICTING, FREE, NEVER, NEVER_NOW, UNKNOWN, Seats
from cortex.fleet.view import NodeView


def looked(*nodes: NodeView, facts: KnownFacts | None = None, **profile: object) -> Seats:
    wanted = a_profile("new", **({"vram_mb": 16_000} | profile))
    seats = Seats(Newcomer.of(wanted, "lru"), wanted, facts or KnownFacts(), NOW_S)
    seats.look(nodes)
    return seats


def classes(seats: Seats) -> list[list[str]]:
    return [[seat.node.name for seat in of_class] for of_class in seats.classes]


def held(**keys: object) -> NodeView:
    return a_node(vram_mb=(24_000,), free_mb=[2000], models=[a_report("x", devices=(0,), declared_mb=20_000, **keys)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "fit"),
    [
        (a_node(), FREE),
        (a_node(free_mb=[None]), UNKNOWN),
        (held(), EVICT),
        (held(pinned=True), NEVER_NOW),
        (a_node(free_mb=[100]), NEVER_NOW),
        (held(protected_s=9.0), EVICT),
    ],
    ids=["free", "unknown", "others must go", "they never do", "strangers", "they may by now"],
)
def test_how_a_model_fits(node: NodeView, fit: int) -> None:
    seats = looked(node)
    (seat,) = [seat for of_class in (*seats.classes, seats.waits) for seat in of_class]
    assert seat.fit == fit


def test_what_not_even_the_empty_node_holds_is_out() -> None:
    assert [node.name for node in looked(a_node("small", (8000,))).out] == ["small"]
    assert NEVER > NEVER_NOW > EVICT > UNKNOWN > FREE


def test_seats_are_sorted_into_classes_the_best_first() -> None:
    nodes = [
        a_node("loaded", models=[a_report("new")]),
        a_node("loading", models=[a_report("new", "loading")]),
        a_node("pinned"),
        a_node("free"),
        a_node("silent", free_mb=[None]),
    ]
    assert classes(looked(*nodes, pinned_on=("pinned",))) == [
        ["loaded"], ["loading"], ["pinned"], [], [], ["free"], ["silent"], [],
    ]  # fmt: skip


def test_small_one_of_a_kind_of_devices_is_passed_over_by_the_floor() -> None:
    node = a_node(vram_mb=(8000, 24_000), free_mb=[8000, 100], models=[])
    assert looked(node, vram_mb=4000).classes[5] != []
    assert looked(node, vram_mb=4000, min_device_vram_mb=10_000).classes[5] == []
    assert looked(node, vram_mb=4000, min_device_vram_mb=90_000).out == [node]


def test_harness_with_which_it_does_best_is_taken() -> None:
    details = [
        HarnessDetail(name=name, kind=name, usable=True, device_kinds=kinds)
        for name, kinds in (("a", ("cpu",)), ("b", None))
    ]  # type: ignore[arg-type]
    node = a_node(harnesses=["a", "b"], details=details)
    assert looked(node, harness="a").out == [node]
    ((seat,),) = [of_class for of_class in looked(node, harness="b").classes if of_class]
    assert seat.offer.harness == "b"


def test_node_without_the_harness_is_out() -> None:
    node = a_node(harnesses=["comfyui"])
    assert looked(node).out == [node]


def test_node_where_everybody_is_protected_is_not_worked_out() -> None:
    node = msgspec.structs.replace(held(), safe_until_s={"x": NOW_S + 1})
    assert [seat.fit for seat in looked(node).waits] == [NEVER_NOW]
    node = msgspec.structs.replace(held(), safe_until_s={"x": NOW_S - 1})
    assert [seat.fit for seat in looked(node).classes[7]] == [EVICT]


def test_model_goes_where_its_server_is_and_another_of_the_same_shape_where_there_is_room() -> None:
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=True, is_shared=True)
    known = a_report("new", "unloaded", devices=(1,))
    node = a_node(vram_mb=(24_000, 24_000), free_mb=[24_000, 100], models=[known], details=(detail,))
    assert [seat.fit for seat in looked(node).waits] == [NEVER_NOW]
    other = a_profile("other", vram_mb=16_000)
    seats = Seats(Newcomer.of(other, "lru"), other, KnownFacts(), NOW_S)
    seats.look([node])
    assert [seat.fit for seat in seats.classes[5]] == [FREE]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_is_worked_out_is_better_than_its_bound(seed: int) -> None:
    for case in [draw(1000 * seed + number) for number in range(30)]:
        seats = Seats(Newcomer.of(case.profile, case.strategy), case.profile, case.facts, NOW_S)
        seats.look(case.nodes)
        for bound, seat in [pair for number in EVICTING for pair in seats.bounds(seats.classes[number])]:
            tenants = tenants_of(seat.node, seats.newcomer, case.facts, NOW_S)
            found = seat.clearance([tenant for tenant in tenants if tenant.stays is None])
            if found is not None:
                assert bound <= seat.key("new", *found.weight), case
