"""Decisions, a page at a time and narrowed down."""

import pytest
from tests.unit.gateway.admin.scene import a_view

from cortex.contract.admin import DecisionPage, DecisionQuery
from cortex.contract.error import CallerError, MalformedRequest, ModelNotFound, NodeNotFound
from cortex.fleet.decision import DecisionLog
from cortex.gateway.admin.decision_page import decision_page, known_query
from cortex.testing.virtual_clock import VirtualClock

CLOCK = VirtualClock(start_s=100.0, epoch_s=1_800_000_000.0)


def a_log(amount: int = 10, kept: int = 100) -> DecisionLog:
    log = DecisionLog(kept=kept)
    for number in range(1, amount + 1):
        kind = "eviction" if number % 2 else "placement"
        log.note(kind, f"r{number}", now_s=90.0, model=f"m{number % 3}", node="n", by="x")
    return log


def page(query: DecisionQuery, log: DecisionLog | None = None) -> DecisionPage:
    return decision_page(log or a_log(), query, CLOCK)


def numbers(found: DecisionPage) -> list[int]:
    return [decision.number for decision in found.decisions]


def test_a_decision_has_the_time_that_people_know() -> None:
    (decision,) = page(DecisionQuery(limit=1)).decisions
    assert (decision.epoch_s, decision.reason, decision.details) == (1_799_999_990.0, "r10", {"by": "x"})


def test_without_since_the_newest_come_and_a_follower_goes_on_behind_them() -> None:
    found = page(DecisionQuery(limit=3))
    assert (numbers(found), found.next, found.newest, found.gap) == ([8, 9, 10], 10, 10, False)


def test_pages_go_on_where_the_last_one_ended_also_when_narrowed_down() -> None:
    query, seen = DecisionQuery(since=0, limit=2, kind="eviction"), []
    for _ in range(3):
        found = page(query)
        seen.append(numbers(found))
        query = DecisionQuery(since=found.next, limit=2, kind="eviction")
    assert seen == [[1, 3], [5, 7], [9]]
    assert found.next == 10, "what is of no interest need not be looked at again"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (DecisionQuery(since=0, model="m1"), [1, 4, 7, 10]),
        (DecisionQuery(since=0, node="other"), []),
        (DecisionQuery(since=4, model="m1", kind="eviction"), [7]),
    ],
)
def test_they_can_be_narrowed_down(query: DecisionQuery, wanted: list[int]) -> None:
    assert numbers(page(query)) == wanted


def test_a_gap_is_told_only_to_who_asked_for_what_is_gone() -> None:
    log = a_log(50, kept=10)
    assert page(DecisionQuery(since=3), log).gap
    assert not page(DecisionQuery(since=45), log).gap
    assert not page(DecisionQuery(), log).gap


def test_an_alias_stands_for_its_model_and_one_that_is_gone_for_itself() -> None:
    def known(model: str) -> str | None:
        return known_query(DecisionQuery(model=model), a_view(), a_log()).model

    assert [known("big"), known("org/big"), known("m2")] == ["org/big", "org/big", "m2"]


@pytest.mark.parametrize(
    ("query", "kind", "words"),
    [
        (DecisionQuery(kind="evict"), MalformedRequest, "steward; got 'evict'; did you mean 'eviction'?"),
        (DecisionQuery(kind="grant-queued"), MalformedRequest, "kind: expected one of placement, load, failure,"),
        (DecisionQuery(node="bens"), NodeNotFound, "did you mean 'benjy'?"),
        (DecisionQuery(model="org/bug"), ModelNotFound, "did you mean 'org/big'"),
    ],
)
def test_what_can_match_nothing_is_told(query: DecisionQuery, kind: type[CallerError], words: str) -> None:
    with pytest.raises(kind) as refused:
        known_query(query, a_view(), a_log())
    assert words in refused.value.message


def test_what_there_is_may_be_asked_for_though_nothing_is_told_of_it() -> None:
    query = DecisionQuery(model="org/big", node="benjy", kind="restart", since=3)
    assert known_query(query, a_view(), DecisionLog()) == query
