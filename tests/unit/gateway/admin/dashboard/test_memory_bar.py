"""Who uses what of a device, as pieces of a bar."""

from tests.unit.fleet.builder import a_node, a_report

from cortex.fleet.memory import NodeMemory
from cortex.fleet.view import NodeView
from cortex.gateway.admin.dashboard.memory_bar import HUES, WIDTH, Bar, bar_of, hues_of


def memory(node: NodeView) -> NodeMemory:
    assert node.memory is not None
    return node.memory


def bar(node: NodeView, index: int = 0) -> Bar:
    return bar_of(memory(node), index, hues_of([report.id for report in node.models]))


def amounts(bar: Bar) -> dict[str, int]:
    return {f"{piece.kind} {piece.label}": piece.amount_mb for piece in bar.pieces}


def test_an_instance_has_a_piece_for_what_was_measured_and_one_for_the_rest_of_what_it_was_promised() -> None:
    node = a_node("beast", (10_000,), free_mb=(7_000,), models=[
        a_report("org/a", devices=(0,), vram_used_mb=3_000, declared_mb=4_000)
    ])  # fmt: skip
    assert amounts(bar(node)) == {"used org/a": 3_000, "promised promised to org/a": 1_000, "free free": 6_000}
    (holder,) = bar(node).holders
    assert (holder.measured_mb, holder.declared_mb, holder.held_mb) == (3_000, 4_000, 4_000)


def test_what_nobody_measured_counts_as_promised() -> None:
    node = a_node("beast", (10_000,), free_mb=(6_000,), models=[a_report("org/a", devices=(0,), declared_mb=4_000)])
    assert amounts(bar(node))["used org/a"] == 4_000
    assert bar(node).holders[0].measured_mb is None


def test_strangers_are_shown_and_a_device_that_tells_nothing_says_so() -> None:
    node = a_node("beast", (10_000, 10_000), free_mb=(7_500, None))
    assert amounts(bar(node)) == {"strangers strangers": 2_500, "free free": 7_500}
    unknown = bar(node, 1)
    assert unknown.strangers_mb is None
    assert unknown.free_mb is None


def test_pieces_lie_side_by_side_and_fill_the_bar() -> None:
    models = [a_report(f"org/{name}", devices=(0,), declared_mb=1_000) for name in "abc"]
    pieces = bar(a_node("beast", (10_000,), free_mb=(5_000,), models=models)).pieces
    ends = [piece.left + piece.width for piece in pieces]
    assert [piece.left for piece in pieces] == [0.0, *ends[:-1]]
    assert ends[-1] == WIDTH


def test_more_than_there_is_stays_within_the_bar_and_is_marked() -> None:
    models = [a_report("org/a", devices=(0,), declared_mb=15_000)]
    found = bar(a_node("beast", (10_000,), free_mb=(0,), models=models))
    assert found.is_over
    assert sum(piece.width for piece in found.pieces) <= WIDTH


def test_the_words_say_what_the_bar_shows() -> None:
    node = a_node("beast", (10_000,), free_mb=(6_000,), models=[a_report("org/a", devices=(0,), declared_mb=4_000)])
    assert bar(node).words == "org/a 4000 MiB, free 6000 MiB, of 10000 MiB"


def test_models_of_one_node_have_different_colours_while_there_are_enough() -> None:
    names = [f"org/{number}" for number in range(HUES)]
    assert sorted(hues_of(names).values()) == list(range(HUES))
    assert len(hues_of([*names, "org/one-more"])) == HUES + 1
    assert hues_of(["org/a"]) == hues_of(["org/a"])
