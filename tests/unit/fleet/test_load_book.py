"""Single flight and back-off."""

import pytest

from cortex.fleet.load_book import Failure, LoadBook, back_off_s
from cortex.fleet.memory import LoadUnderWay


def fail(book: LoadBook, node: str, now_s: float, code: str = "oom") -> None:
    book.fail(node, "m", code=code, message=code, log_tail=("x",), now_s=now_s)


def test_flight_is_under_way_from_start_to_landing() -> None:
    book = LoadBook()
    assert book.flight_of("m") is None
    book.start("a", LoadUnderWay(model="m"), 5.0)
    flight = book.flight_of("m")
    assert flight is not None
    assert (flight.node, flight.model, flight.started_s) == ("a", "m", 5.0)
    assert book.is_under_way("a", "m")
    assert not book.is_under_way("b", "m")
    assert [flight.node for flight in book.flights()] == ["a"]
    book.land("a", "m")
    assert book.flight_of("m") is None
    assert list(book.flights()) == []


def test_landing_of_what_never_started_changes_nothing() -> None:
    book = LoadBook()
    book.land("a", "m")
    book.start("a", LoadUnderWay(model="m"), 0.0)
    book.land("b", "m")
    assert book.is_under_way("a", "m")


def test_failure_holds_off_its_own_pair_only() -> None:
    book = LoadBook()
    fail(book, "a", 100.0)
    assert book.is_held("a", "m", 104.9)
    assert not book.is_held("a", "m", 105.0)
    assert not book.is_held("b", "m", 100.0)
    assert not book.is_held("a", "n", 100.0)


def test_success_forgives_what_was_before() -> None:
    book = LoadBook()
    fail(book, "a", 100.0)
    book.forgive("a", "m")
    book.forgive("b", "m")
    assert not book.is_held("a", "m", 100.0)
    fail(book, "a", 100.0)
    failure = book.latest_failure("m", ["a"])
    assert failure is not None
    assert failure.count == 1


def test_latest_failure_is_that_of_the_node_that_failed_last_even_in_the_same_moment() -> None:
    book = LoadBook()
    fail(book, "a", 1.0)
    fail(book, "b", 1.0)
    fail(book, "a", 1.0, "again")
    latest = book.latest_failure("m", ["a", "b"])
    assert latest == Failure(
        node="a",
        model="m",
        code="again",
        message="again",
        log_tail=("x",),
        failed_s=1.0,
        until_s=11.0,
        count=2,
        faults=2,
    )
    other = book.latest_failure("m", ["b"])
    assert other is not None
    assert other.node == "b"
    assert book.latest_failure("m", []) is None


def test_refusals_make_no_rest_after_a_fault_longer_nor_faults_one_after_a_refusal() -> None:
    book = LoadBook()
    rests = []
    for code in ("no_room", "busy", "no_room", "load_lost", "busy", "load_lost"):
        book.fail("a", "m", code=code, message=code, now_s=100.0)
        rests.append(book.retry_in_s("m", ["a"], 100.0))
    assert rests == [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]


def test_retry_time_is_that_of_the_first_node_that_may_be_tried_again() -> None:
    book = LoadBook()
    fail(book, "a", 100.0)
    fail(book, "b", 102.0)
    assert book.retry_in_s("m", ["a", "b"], 103.0) == 2.0
    assert book.retry_in_s("m", ["a", "b"], 200.0) == 0.0
    assert book.retry_in_s("m", [], 200.0) == 0.0


@pytest.mark.parametrize(
    ("code", "delays"),
    [
        ("oom", [5, 10, 20, 40, 80, 160, 300, 300]),
        ("no_room", [1, 2, 4, 8, 15, 15, 15, 15]),
        ("stale", [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2]),
        ("upstream_unreachable", [0.5, 1, 2, 2, 2, 2, 2, 2]),
    ],
    ids=[
        "an engine that failed",
        "a neuron without room",
        "a plan by an older picture",
        "a server that does not answer",
    ],
)
def test_back_off_doubles_up_to_its_bound(code: str, delays: list[float]) -> None:
    assert [back_off_s(code, count) for count in range(1, 9)] == delays
    assert back_off_s(code, 10_000) == delays[-1]


def test_a_picture_that_was_too_old_makes_no_rest_longer_for_want_of_room_nor_the_other_way_round() -> None:
    book = LoadBook()
    for now_s in (1.0, 2.0, 3.0):
        book.fail("a", "m", code="no_room", message="x", now_s=now_s)
    book.fail("a", "m", code="loaded_differently", message="x", now_s=10.0)
    assert book.holds_of("m", 10.0) == {"a": pytest.approx(0.1)}
    book.fail("a", "m", code="no_room", message="x", now_s=20.0)
    assert book.holds_of("m", 20.0) == {"a": pytest.approx(8.0)}
