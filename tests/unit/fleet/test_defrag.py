"""Which harnesses are due for a restart, and when again."""

import pytest
from tests.unit.fleet.steward_builder import a_harness, node

from cortex.contract.node import HarnessHealth
from cortex.fleet.defrag import AGAIN_FIRST_S, AGAIN_MAX_S, DefragBook


def due(book: DefragBook, *harnesses: HarnessHealth, now_s: float = 0.0, **more: object) -> list[tuple[str, str]]:
    made = node("a", harnesses=harnesses, **more)  # type: ignore[arg-type]
    return [(found.node, found.harness) for found in book.due([made], now_s)]


@pytest.mark.parametrize(
    ("harness", "after_cycles", "is_due"),
    [
        pytest.param(a_harness(49), 50, False, id="not yet"),
        pytest.param(a_harness(50), 50, True, id="so many unloads"),
        pytest.param(a_harness(5000), 0, False, id="never for the number alone"),
        pytest.param(a_harness(1, leaking=1), 0, True, id="it leaks"),
        pytest.param(a_harness(0, due=True), 0, True, id="its neuron says so"),
        pytest.param(a_harness(0), 50, False, id="all is well"),
    ],
)
def test_due_is_what_leaks_or_has_unloaded_so_often(harness: HarnessHealth, after_cycles: int, is_due: bool) -> None:
    assert bool(due(DefragBook(after_cycles), harness)) is is_due


@pytest.mark.parametrize("more", [{"is_healthy": False}, {"maintenance": True}])
def test_a_node_that_is_not_there_or_is_being_cleared_has_nothing_due(more: dict[str, object]) -> None:
    assert due(DefragBook(50), a_harness(99), **more) == []


def test_the_worst_comes_first() -> None:
    nodes = [
        node("worn", harnesses=[a_harness(90)]),
        node("leaks", harnesses=[a_harness(60, leaking=2)]),
        node("old", harnesses=[a_harness(200)]),
    ]
    assert [found.node for found in DefragBook(50).due(nodes, 0.0)] == ["leaks", "old", "worn"]


def test_a_restart_that_did_not_help_is_tried_again_later_and_later() -> None:
    book, now_s, spans = DefragBook(50), 0.0, list[float]()
    for _ in range(9):
        (found,) = book.due([node("a", harnesses=[a_harness(60)])], now_s)
        book.note(found, now_s)
        before_s = now_s
        while not due(book, a_harness(60), now_s=now_s):
            now_s += 30.0
        spans.append(now_s - before_s)
    assert spans[:3] == [AGAIN_FIRST_S, 2 * AGAIN_FIRST_S, 4 * AGAIN_FIRST_S]
    assert max(spans) == AGAIN_MAX_S


def test_a_restart_that_helped_is_forgotten() -> None:
    book = DefragBook(50)
    (found,) = book.due([node("a", harnesses=[a_harness(60)])], 0.0)
    book.note(found, 0.0)
    assert due(book, a_harness(0), now_s=1.0) == []
    assert due(book, a_harness(50), now_s=2.0) == [("a", "llamacpp")]


def test_why_says_what_an_operator_wants_to_know() -> None:
    (worn,) = DefragBook(50).due([node("a", harnesses=[a_harness(60)])], 0.0)
    (leaks,) = DefragBook(50).due([node("a", harnesses=[a_harness(3, leaking=2)])], 0.0)
    assert worn.why == "llamacpp on a has unloaded 60 times"
    assert leaks.why == "llamacpp on a does not give back what it should (2 times)"
