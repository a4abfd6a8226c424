"""The log of decisions: numbered, bounded, honest about what it does not keep, and not flooded by a storm."""

import pytest

from cortex.fleet.decision import MAX_REMEMBERED, QUIET_S, Decision, DecisionLog


def filled(amount: int, kept: int = 10) -> DecisionLog:
    log = DecisionLog(kept=kept)
    for number in range(amount):
        log.note("placement", f"because {number}", now_s=float(number), model="m", node="n")
    return log


def test_a_decision_keeps_what_was_said_of_it() -> None:
    log = DecisionLog()
    log.note("eviction", "room for b", now_s=7.5, model="a", node="beast", caller="key-1", by="b", needed_mb=900)
    assert log.since(0).decisions == (
        Decision(
            number=1,
            at_s=7.5,
            kind="eviction",
            reason="room for b",
            model="a",
            node="beast",
            caller="key-1",
            details={"by": "b", "needed_mb": 900},
        ),
    )


def test_numbers_count_up_from_one_and_the_oldest_go_first() -> None:
    log = filled(25)
    assert log.newest == 25
    assert [decision.number for decision in log.since(15).decisions] == list(range(16, 26))


@pytest.mark.parametrize(
    ("since", "first", "is_gap"),
    [(0, 16, True), (14, 16, True), (15, 16, False), (20, 21, False), (25, None, False), (26, 16, True)],
    ids=["from the start", "one is gone", "just kept", "middle", "all seen", "of another life"],
)
def test_who_asks_for_what_is_gone_is_told(since: int, first: int | None, is_gap: bool) -> None:
    found = filled(25).since(since)
    assert (found.newest, found.is_gap) == (25, is_gap)
    assert next((decision.number for decision in found.decisions), None) == first


def test_a_number_that_never_was_is_a_gap() -> None:
    assert filled(3).since(-1).is_gap
    assert not DecisionLog().since(0).is_gap


def test_a_page_goes_on_where_the_last_one_ended() -> None:
    log = filled(10)
    seen, pages = 0, []
    while found := log.since(seen, 4).decisions:
        pages.append([decision.number for decision in found])
        seen = found[-1].number
    assert pages == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@pytest.mark.parametrize(("limit", "numbers"), [(2, [9, 10]), (99, list(range(1, 11))), (0, [])])
def test_the_latest_are_the_newest_in_order(limit: int, numbers: list[int]) -> None:
    assert [decision.number for decision in filled(10).latest(limit).decisions] == numbers


def test_a_storm_of_refusals_leaves_the_load_that_explains_it_in_the_log() -> None:
    log, heard = DecisionLog(kept=5), []
    log.watch(heard.append)
    log.note("placement", "nowhere loaded", now_s=0.0, model="m", node="n")
    for step in range(1000):
        log.note("refusal", "the queue is full", now_s=step * QUIET_S / 500, model="m", code="no_capacity")
    kept = log.since(0).decisions
    assert [(decision.kind, decision.count) for decision in kept] == [
        ("placement", 1),
        ("refusal", 1),
        ("refusal", 500),
    ]
    assert len(heard) == 1001
    assert sum(decision.number == 0 for decision in heard) == 998


def test_refusals_of_other_models_or_for_other_causes_are_not_alike() -> None:
    log = DecisionLog()
    for model, code in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")):
        log.note("refusal", "no", now_s=0.0, model=model, code=code)
    assert len(log.since(0).decisions) == 3


def test_what_comes_once_per_load_is_always_kept() -> None:
    log = DecisionLog()
    for _ in range(3):
        log.note("eviction", "room", now_s=0.0, model="a", node="n")
    assert log.newest == 3


def test_names_made_up_by_callers_do_not_pile_up() -> None:
    log = DecisionLog(kept=1)
    for number in range(MAX_REMEMBERED * 3):
        log.note("refusal", "unknown", now_s=0.0, model=f"made-up-{number}")
    assert len(log._quiet) == MAX_REMEMBERED


def test_what_is_only_counted_is_told_and_not_kept() -> None:
    log, heard = DecisionLog(), []
    log.count("grant-queued", now_s=1.0, model="m")
    log.watch(heard.append)
    log.count("grant-queued", now_s=1.0, model="m", node="n", waited_s=0.5)
    assert [(decision.number, decision.kind, decision.details) for decision in heard] == [
        (0, "grant-queued", {"waited_s": 0.5})
    ]
    assert log.newest == 0
