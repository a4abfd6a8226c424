"""One answer after the other makes the board."""

import msgspec
from tests.unit.cli.top.fleet import BUSY, EMPTY, NOW, decision, finished, running

from cortex.cli.top.board import (
    KEPT,
    state_of,
    tokens_per_s,
    waiting_by_model,
    with_activity,
    with_decisions,
    with_trouble,
    without_trouble,
)
from cortex.contract.activity import ActivityPage


def page(*numbers: int, runs: int = 0) -> ActivityPage:
    newest = max(numbers, default=0)
    return ActivityPage(
        running=tuple(running(f"req-{n}", "m") for n in range(runs)),
        running_count=runs,
        finished=tuple(finished(n, "m") for n in numbers),
        newest=newest,
        next=newest,
        gap=False,
    )


def test_what_is_over_is_kept_newest_first_and_once() -> None:
    board = with_activity(with_activity(EMPTY, page(1, 2), NOW), page(2, 3), NOW)
    assert [one.number for one in board.finished] == [3, 2, 1]


def test_no_more_is_kept_than_is_looked_at() -> None:
    board = with_activity(EMPTY, page(*range(1, KEPT + 50)), NOW)
    assert (len(board.finished), board.finished[0].number) == (KEPT, KEPT + 49)


def test_another_process_begins_anew() -> None:
    board = with_activity(with_activity(EMPTY, page(70, 71), NOW), page(1), NOW)
    assert [one.number for one in board.finished] == [1]


def test_decisions_come_in_turn_and_one_that_has_grown_replaces_itself() -> None:
    board = with_decisions(with_decisions(EMPTY, (decision(1, "load", "a"), decision(2, "refusal", "b"))), ())
    board = with_decisions(board, (decision(2, "refusal", "b", count=5), decision(3, "load", "c")))
    assert [(one.number, one.count) for one in board.decisions] == [(3, 1), (2, 5), (1, 1)]


def test_trouble_keeps_its_beginning_until_it_is_over() -> None:
    board = with_trouble(with_trouble(EMPTY, "a", 5.0), "b", 9.0)
    assert (board.trouble, board.trouble_epoch_s) == ("b", 5.0)
    assert without_trouble(board).trouble == ""


def test_tokens_are_those_of_the_last_minute_by_the_gateways_clock() -> None:
    old = finished(1, "m", ended_epoch_s=NOW - 61)
    board = msgspec.structs.replace(EMPTY, finished=(finished(2, "m", completion_tokens=60), old))
    assert tokens_per_s(board) == {("m", "beast"): 1.0}
    late = msgspec.structs.replace(board, now_epoch_s=NOW - 3600, skew_s=3600.0)
    assert tokens_per_s(late) == {("m", "beast"): 1.0}


def test_the_gateways_clock_is_learnt_from_what_runs() -> None:
    assert with_activity(EMPTY, page(runs=1), NOW - 100).skew_s == 100.0


def test_who_waits_is_counted_by_model() -> None:
    assert waiting_by_model(BUSY) == {"org/new": 1, "nowhere": 1}


def test_the_state_is_that_of_the_nodes() -> None:
    assert (state_of(BUSY), state_of(EMPTY)) == ("degraded", "down")
