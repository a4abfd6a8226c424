"""The books of a node's memory: all or nothing, counted once, given back once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cortex.residency.fit import DeviceRoom, Fit, Infeasible, Reservation, even_shares
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


def test_what_victims_still_hold_is_not_promised_twice():
    book = ReservationBook(headroom_mb=0)
    book.adopt("v", 700, (0,))
    assert isinstance(book.reserve("a", 900, (0,), ROOMS, awaits=["v"]), Fit)
    assert book.reserved_mb(0) == 200
    assert book.judge(0, (0,), ROOMS).devices[0].free_mb == 100
    book.release("v")
    assert book.reserved_mb(0) == 900
    assert book.judge(0, (0,), ROOMS).devices[0].free_mb == 100


def test_a_victim_that_holds_more_than_is_wanted_makes_no_promise_negative():
    book = ReservationBook(headroom_mb=0)
    book.adopt("v", 700, (0,))
    book.reserve("a", 100, (0,), ROOMS, awaits=["v"])
    assert (book.reserved_mb(0), book.judge(0, (0,), ROOMS).devices[0].free_mb) == (0, 300)


def test_a_victim_that_is_gone_and_comes_again_goes_for_nobody():
    book = ReservationBook(headroom_mb=0)
    book.adopt("v", 300, (0,))
    book.adopt("w", 300, (0,))
    book.reserve("a", 600, (0,), ROOMS, awaits=["v", "w"])
    book.release("v")
    book.adopt("v", 300, (0,))
    assert book.reserved_mb(0) == 300


def test_nobody_awaits_what_somebody_else_awaits():
    book = ReservationBook(headroom_mb=0)
    book.adopt("v", 700, (0,))
    book.reserve("a", 400, (0,), ROOMS, awaits=["v"])
    with pytest.raises(KeyError):
        book.reserve("b", 400, (0,), ROOMS, awaits=["v"])


def test_a_promise_is_judged_again_without_itself():
    book = ReservationBook(headroom_mb=0)
    book.reserve("a", 1600, (0, 1), ROOMS)
    assert isinstance(book.judge_again("a", ROOMS), Fit)
    taken = (ROOMS[0], DeviceRoom(index=1, total_mb=1000, strangers_mb=201))
    assert [device.missing_mb for device in book.judge_again("a", taken).devices] == [0, 1]


def test_it_can_be_judged_as_if_some_were_gone_and_more_were_promised():
    book = ReservationBook(headroom_mb=0)
    book.adopt("v", 900, (0,))
    beside = (Reservation(key="b", shares=even_shares(300, (0,))),)
    assert isinstance(book.judge(700, (0,), ROOMS, without=["v"], beside=beside), Fit)
    assert isinstance(book.judge(701, (0,), ROOMS, without=["v"], beside=beside), Infeasible)
    assert [resident.key for resident in book.residents] == ["v"]


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

    @rule(key=st.sampled_from("abcdef"), need_mb=st.integers(0, 1200), victims=st.sets(st.sampled_from("abcdef")))
    def reserve_with_room_of_others(self, key, need_mb, victims):
        awaits = sorted((victims & self.running).difference(*(promise.awaits for promise in self.book.reservations)))
        if key in self.promised | self.running:
            return
        if isinstance(self.book.reserve(key, need_mb, (0,), ROOMS, awaits=awaits), Fit):
            self.promised.add(key)

    @rule(key=st.sampled_from("abcdef"))
    def commit(self, key):
        if key in self.promised and not self.awaited_by(key):
            self.book.commit(key)
            self.promised.remove(key)
            self.running.add(key)

    @rule(key=st.sampled_from("abcdef"))
    def release(self, key):
        self.book.release(key)
        self.promised.discard(key)
        self.running.discard(key)

    def awaited_by(self, key):
        return {awaited for promise in self.book.reservations if promise.key == key for awaited in promise.awaits}

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
