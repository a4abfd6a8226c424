"""The books of a node's memory: all or nothing, counted once, given back once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cortex.residency.fit import DeviceRoom, Fit, Infeasible
from cortex.residency.reservation import ReservationBook

ROOMS = (DeviceRoom(index=0, total_mb=1000), DeviceRoom(index=1, total_mb=1000))


def test_a_reservation_on_two_devices_is_all_or_nothing():
    book = ReservationBook(headroom_mb=0)
    assert isinstance(book.reserve("a", 600, (1,), ROOMS), Fit)
    assert isinstance(book.reserve("b", 1600, (0, 1), ROOMS), Infeasible)
    assert book.reserved_mb(0) == 0
    assert isinstance(book.reserve("c", 1000, (0,), ROOMS), Fit)


def test_judging_promises_nothing():
    book = ReservationBook(headroom_mb=0)
    assert isinstance(book.judge(1000, (0,), ROOMS), Fit)
    assert book.reservations == ()


def test_the_headroom_is_never_given_away():
    assert isinstance(ReservationBook(headroom_mb=100).reserve("a", 901, (0,), ROOMS), Infeasible)


def test_a_commit_turns_the_promise_into_a_resident():
    book = ReservationBook(headroom_mb=0)
    book.reserve("a", 600, (0,), ROOMS)
    book.commit("a")
    assert book.reserved_mb(0) == 0
    assert [resident.key for resident in book.residents] == ["a"]
    assert book.judge(500, (0,), ROOMS).devices[0].free_mb == 400


def test_a_commit_without_a_promise_is_a_mistake():
    with pytest.raises(KeyError):
        ReservationBook(headroom_mb=0).commit("a")


def test_nobody_gets_memory_twice():
    book = ReservationBook(headroom_mb=0)
    book.reserve("a", 1, (0,), ROOMS)
    with pytest.raises(KeyError):
        book.reserve("a", 1, (0,), ROOMS)
    book.commit("a")
    with pytest.raises(KeyError):
        book.adopt("a", 1, (0,))


def test_a_measurement_above_the_promise_takes_room():
    book = ReservationBook(headroom_mb=0)
    book.reserve("a", 600, (0, 1), ROOMS)
    book.commit("a")
    book.measure("a", {0: 700})
    assert [verdict.free_mb for verdict in book.judge(0, (0, 1), ROOMS).devices] == [300, 700]


def test_an_adopted_engine_is_a_resident_even_where_it_does_not_fit():
    book = ReservationBook(headroom_mb=0)
    book.adopt("a", 3000, (0,))
    assert book.judge(1, (0,), ROOMS).reason == "no_room"


def test_what_is_offered_counts_as_evictable():
    book = ReservationBook(headroom_mb=0)
    book.adopt("a", 900, (0,))
    assert book.judge(500, (0,), ROOMS).devices[0].evictable_mb == 0
    book.offer("a", True)
    assert book.judge(500, (0,), ROOMS).devices[0].evictable_mb == 900


def test_a_release_gives_back_promise_or_resident_and_a_second_one_nothing():
    book = ReservationBook(headroom_mb=0)
    book.reserve("a", 600, (0,), ROOMS)
    book.adopt("b", 300, (0,))
    for key in ("a", "b", "a", "b"):
        book.release(key)
    assert (book.residents, book.reservations) == ((), ())
    assert isinstance(book.reserve("c", 1000, (0,), ROOMS), Fit)


class Books(RuleBasedStateMachine):
    """Any order of steps keeps every device within its memory, and nothing is left when all is released."""

    def __init__(self):
        super().__init__()
        self.book = ReservationBook(headroom_mb=50)
        self.promised, self.running = set(), set()

    @rule(key=st.sampled_from("abcdef"), need_mb=st.integers(0, 1200), devices=st.sampled_from([(0,), (1,), (0, 1)]))
    def reserve(self, key, need_mb, devices):
        if key not in self.promised | self.running and isinstance(self.book.reserve(key, need_mb, devices, ROOMS), Fit):
            self.promised.add(key)

    @rule(key=st.sampled_from("abcdef"))
    def commit(self, key):
        if key in self.promised:
            self.book.commit(key)
            self.promised.remove(key)
            self.running.add(key)

    @rule(key=st.sampled_from("abcdef"))
    def release(self, key):
        self.book.release(key)
        self.promised.discard(key)
        self.running.discard(key)

    @invariant()
    def no_device_is_overfull(self):
        for verdict in self.book.judge(0, (0, 1), ROOMS).devices:
            assert verdict.missing_mb == 0

    @invariant()
    def the_books_know_exactly_those_who_have_memory(self):
        assert {entry.key for entry in self.book.reservations} == self.promised
        assert {entry.key for entry in self.book.residents} == self.running


Books.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
