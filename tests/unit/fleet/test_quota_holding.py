"""The gateway's half: what is let in at once, what waits, what is refused from memory, and when the store is told."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex.contract.key import KeyLimits
from cortex.fleet.quota import LEASE_S, RENEW_S
from cortex.fleet.quota_book import PLACE_RETRY_S, QuotaBook, settle, use_now
from cortex.fleet.quota_holding import (
    IDLE_ALONE_S,
    IDLE_S,
    MAX_UNBOUNDED_ANSWER,
    MOST_HOPING,
    SCARCE_S,
    Admission,
    Asked,
    Denial,
    Holding,
)

SMALL = Asked(10, 90)
EPOCH_S = 1_800_000_000.0  # a minute begins
DAY_LEFT_S = 57_600  # at 08:00 UTC


class Scene:
    """Gateways with one key, a store that answers at once, and one time for all."""

    def __init__(self, *names: str, **limits: int) -> None:
        self.limits = KeyLimits(**limits)
        self.book = QuotaBook()
        self.now_s = 0.0
        self.holdings = {
            name: Holding("k", self.limits, name, count(1).__next__, lambda: EPOCH_S + self.now_s)
            for name in names or ("a",)
        }

    @property
    def one(self) -> Holding:
        return self.holdings["a"]

    def tell(self, *waiting: Asked, name: str = "a") -> None:
        holding = self.holdings[name]
        answer = settle(self.book, holding.report(waiting, self.now_s), EPOCH_S + self.now_s)
        holding.answered(answer, self.now_s)

    def lose(self, *waiting: Asked) -> None:
        """Tell the store, whose answer is lost."""
        settle(self.book, self.one.report(waiting, self.now_s), EPOCH_S + self.now_s)
        self.one.failed(self.now_s)

    def enter(self, asked: Asked = SMALL, name: str = "a") -> Admission | Denial:
        """Let one in or not, after the store was asked where that takes it."""
        outcome = self.holdings[name].take(asked, self.now_s)
        if outcome is None:
            self.tell(asked, name=name)
            outcome = self.holdings[name].take(asked, self.now_s)
        assert outcome is not None
        return outcome

    def let_in(self, asked: Asked = SMALL, name: str = "a") -> Admission:
        outcome = self.enter(asked, name)
        assert isinstance(outcome, Admission)
        return outcome

    def refused(self, asked: Asked = SMALL, name: str = "a") -> Denial:
        outcome = self.enter(asked, name)
        assert isinstance(outcome, Denial)
        return outcome

    def used(self) -> dict[str, tuple[int, int]]:
        return {use.limit: (use.used, use.held) for use in use_now(self.book, self.limits, EPOCH_S + self.now_s)}


def test_the_first_request_waits_for_the_store_and_the_next_ones_do_not() -> None:
    it = Scene(requests_per_min=6000, tokens_per_min=10**6)
    assert it.one.take(SMALL, 0) is None
    it.tell(SMALL)
    for _ in range(50):
        assert isinstance(it.one.take(SMALL, 0), Admission)


def test_more_is_asked_for_before_the_slice_is_used_up() -> None:
    it = Scene(requests_per_min=600)
    it.let_in()
    assert not it.one.wants_to_ask(0)
    lots = 0
    while not it.one.wants_to_ask(0):
        it.let_in()
        lots += 1
    assert it.one.meters[0].free > 0
    assert 2 < lots < 10
    it.tell()
    assert not it.one.wants_to_ask(0)


def test_a_refusal_is_remembered_as_long_as_it_holds() -> None:
    it = Scene(requests_per_min=2)
    it.let_in()
    it.let_in()
    denial = it.refused()
    assert (denial.kind and denial.kind.name, denial.limit, denial.left) == ("requests_per_min", 2, 0)
    assert denial.retry_in_s == pytest.approx(60)
    for it.now_s in (1.0, 30.0, 59.0):
        assert isinstance(it.one.take(SMALL, it.now_s), Denial)
        assert not it.one.wants_to_ask(it.now_s)
    it.now_s = 60.0
    it.let_in()


def test_a_smaller_request_may_still_be_let_in() -> None:
    it = Scene(tokens_per_min=150)
    it.let_in(Asked(0, 100)).settle(100)
    assert it.refused(Asked(0, 60)).left == 50
    it.let_in(Asked(0, 50))


def test_what_was_not_used_of_a_reservation_is_there_again_at_once() -> None:
    it = Scene(tokens_per_min=1000)
    one = it.let_in(Asked(0, 900))
    it.refused(Asked(0, 900))
    one.settle(20)
    it.let_in(Asked(0, 900))


def test_what_an_answer_takes_beyond_its_reservation_counts() -> None:
    it = Scene(tokens_per_min=1000)
    it.let_in(Asked(0, 100)).settle(950)
    it.tell()
    assert it.used()["tokens_per_min"][0] == 950
    assert it.refused(Asked(0, 100)).left <= 50


def test_what_nobody_knows_counts_as_it_was_reserved_and_an_end_counts_once() -> None:
    it = Scene(tokens_per_min=1000)
    one = it.let_in(Asked(0, 100))
    for used in (None, 0, 500):
        one.settle(used)
    it.tell()
    assert it.used()["tokens_per_min"][0] == 100
    assert it.one.in_flight == 0


def test_an_answer_without_a_bound_is_taken_for_so_many_tokens_and_never_for_more_than_there_are() -> None:
    assert [amount for _, amount, _ in Scene(tokens_per_min=10**6).let_in(Asked(7, None)).taken] == [
        7 + MAX_UNBOUNDED_ANSWER
    ]
    assert [amount for _, amount, _ in Scene(tokens_per_min=500).let_in(Asked(7, None)).taken] == [500]


def test_an_answer_that_could_never_be_had_is_told_apart() -> None:
    holding = Scene(tokens_per_min=500, tokens_per_day=2000).one
    large = holding.too_large(Asked(0, 501))
    assert large is not None
    assert large.kind.name == "tokens_per_min"
    assert holding.too_large(Asked(10**6, 500)) is None
    assert holding.too_large(Asked(0, None)) is None
    assert Scene(requests_per_min=5).one.too_large(Asked(0, 10**9)) is None


def test_every_limit_counts_or_none() -> None:
    it = Scene(requests_per_min=5, tokens_per_day=150, concurrent_requests=5)
    it.let_in(Asked(0, 100))
    assert it.refused(Asked(0, 100)).limit == 150
    it.tell()
    assert it.used()["requests_per_min"][0] == 1
    assert it.one.in_flight == 1


@pytest.mark.parametrize("limit", ["requests_per_min", "tokens_per_min", "tokens_per_month", "concurrent_requests"])
def test_a_limit_of_nothing_lets_nobody_in(limit: str) -> None:
    assert Scene(**{limit: 0}).refused(Asked(0, 0)).limit == 0


def test_places_come_back_with_the_end_of_a_request() -> None:
    it = Scene(concurrent_requests=2)
    one, _ = it.let_in(), it.let_in()
    denial = it.refused()
    assert (denial.kind, denial.limit) == (None, 2)
    one.settle(None)
    it.let_in()


def test_places_whose_lease_has_ended_are_not_used() -> None:
    it = Scene(concurrent_requests=9)
    it.let_in()
    assert isinstance(it.one.take(SMALL, RENEW_S), Admission)
    assert it.one.take(SMALL, LEASE_S) is None


def test_a_window_is_not_used_to_its_very_end() -> None:
    it = Scene(requests_per_min=6000)
    it.let_in()
    assert isinstance(it.one.take(SMALL, 59.9), Admission)
    assert it.one.take(SMALL, 59.95) is None


def test_what_runs_over_the_end_of_a_window_counts_where_it_was_let_in() -> None:
    it = Scene(tokens_per_min=1000)
    one, other = it.let_in(Asked(0, 400)), it.let_in(Asked(0, 400))
    it.now_s = 61.0
    it.let_in(Asked(0, 100))
    one.settle(10)
    it.tell()
    assert it.used()["tokens_per_min"][0] == 0
    other.settle(700)  # 300 beyond its reservation: they count where they are known
    it.tell()
    assert it.used()["tokens_per_min"][0] == 300


def test_an_idle_gateway_gives_back_what_it_holds_when_there_are_others() -> None:
    it = Scene("a", "b", requests_per_min=60)
    it.let_in(name="a")
    it.let_in(name="b")
    it.tell(name="a")  # it hears of the other one
    assert it.used()["requests_per_min"][1] > 0
    assert not it.one.is_due(0.5)
    it.now_s = 1.0
    for name, holding in it.holdings.items():
        assert holding.is_due(it.now_s)
        it.tell(name=name)
    assert it.used()["requests_per_min"] == (2, 0)


def test_a_lone_gateway_keeps_what_it_holds_for_a_while() -> None:
    it = Scene(requests_per_min=60)
    it.let_in().settle(None)
    for it.now_s in (2.0, RENEW_S, 2 * RENEW_S):
        if it.one.is_due(it.now_s):
            it.tell()
        assert it.used()["requests_per_min"][1] > 0
    it.now_s = IDLE_ALONE_S
    assert it.one.is_due(it.now_s)
    it.tell()
    assert it.one.is_idle
    assert it.book.holders == {}


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrent_requests": 1},
        {"concurrent_requests": 2},
        {"requests_per_min": 2},
        {"cold_starts_per_day": 1},
    ],
)
def test_a_lone_gateway_gives_back_soon_what_would_be_missing_elsewhere(limits: dict[str, int]) -> None:
    it = Scene("a", "b", **limits)
    admission = it.let_in(name="a")
    admission.settle(100)
    it.now_s = IDLE_S
    assert it.one.is_due(it.now_s)
    it.tell(name="a")
    assert it.book.holders == {}
    assert it.let_in(name="b").no_load_s(it.now_s) is None


def test_a_lone_gateway_gives_back_what_makes_the_rest_too_little_for_a_request_elsewhere() -> None:
    it, large = Scene("a", "b", tokens_per_min=600), Asked(0, 300)
    it.let_in(large, name="a").settle(300)
    it.now_s = IDLE_S
    assert (it.one.meters[0].free, it.one.meters[0].remaining) == (10, 290)
    assert it.one.is_due(it.now_s)
    it.tell(name="a")
    assert it.let_in(large, name="b")


def test_the_last_place_is_not_kept_for_the_next_request() -> None:
    it = Scene("a", "b", concurrent_requests=1)
    for name in ("a", "b", "a"):
        it.let_in(name=name).settle(100)
        assert it.holdings[name].is_due(it.now_s)
        it.tell(name=name)
        assert not it.holdings[name].is_due(it.now_s)


def test_a_place_that_others_miss_is_given_back_with_the_end_of_its_request() -> None:
    it = Scene("a", "b", concurrent_requests=1)
    one = it.let_in(name="a")
    assert it.refused(name="b").limit == 1
    it.tell(name="a")  # it hears of the other one
    assert not it.one.is_due(it.now_s)
    one.settle(100)
    assert it.one.is_due(it.now_s)
    it.tell(name="a")
    assert not it.one.is_due(it.now_s)
    it.now_s = PLACE_RETRY_S
    it.let_in(name="b").settle(100)
    it.tell(name="b")
    it.let_in(name="a")


@pytest.mark.parametrize("limits", [{"requests_per_min": 3}, {"tokens_per_min": 300}])
def test_what_others_wait_for_is_given_back_by_a_gateway_that_is_in_use(limits: dict[str, int]) -> None:
    it = Scene("a", "b", **limits)
    it.let_in(name="a").settle(100)
    it.let_in(name="b").settle(100)
    denial = it.refused(name="b")
    assert it.holdings["b"].may_hope(denial, [])
    it.now_s = SCARCE_S
    assert it.one.is_due(it.now_s)
    it.tell(name="a")  # it hears of the other one
    assert it.one.wants_to_ask(it.now_s)
    it.tell(name="a")
    assert not it.one.wants_to_ask(it.now_s)  # nor does it take it again
    it.tell(SMALL, name="b")
    assert isinstance(it.holdings["b"].take(SMALL, it.now_s), Admission)


def test_a_place_that_others_wait_for_is_given_back_and_not_taken_again() -> None:
    it = Scene("a", "b", concurrent_requests=4)
    for name in ("a", "a", "b"):
        it.let_in(name=name)
        it.tell(name="a")
    assert it.holdings["b"].may_hope(it.refused(name="b"), [])
    it.now_s = SCARCE_S
    assert it.one.is_due(it.now_s)
    it.tell(name="a")
    it.tell(name="a")
    assert not it.one.wants_to_ask(it.now_s)
    it.tell(SMALL, name="b")
    assert isinstance(it.holdings["b"].take(SMALL, it.now_s), Admission)


def test_no_more_hope_than_others_may_give_back() -> None:
    it = Scene("a", "b", tokens_per_min=1000)
    it.let_in(Asked(0, 700), name="a")
    denial = it.refused(Asked(0, 600), name="b")
    b = it.holdings["b"]
    assert denial.left + denial.elsewhere == 1000
    assert b.may_hope(denial, [Asked(0, 400)])
    assert not b.may_hope(denial, [Asked(0, 400), Asked(0, 1)])
    assert b.may_hope(denial, [Asked(0, 1)] * (MOST_HOPING - 1))
    assert not b.may_hope(denial, [Asked(0, 1)] * MOST_HOPING)


def test_a_report_that_failed_is_followed_by_the_next_and_counts_nothing_twice() -> None:
    it = Scene(requests_per_min=100)
    it.let_in()
    lost = it.one.report([SMALL], 0)
    settle(it.book, lost, EPOCH_S)  # the store has it, and the gateway does not know
    it.one.failed(0)
    it.let_in()
    it.tell()
    assert it.used()["requests_per_min"][0] == 2


def test_without_the_store_a_gateway_holds_a_key_to_its_limits_alone() -> None:
    it = Scene(requests_per_min=3, tokens_per_min=1000, concurrent_requests=2)
    first = [it.one.take_alone(Asked(0, 300), 0) for _ in range(2)]
    assert all(isinstance(one, Admission) and one.is_unchecked for one in first)
    denial = it.one.take_alone(Asked(0, 300), 0)
    assert isinstance(denial, Denial)
    assert denial.kind is None
    for one in first:
        assert isinstance(one, Admission)
        one.settle(400)
    denial = it.one.take_alone(Asked(0, 300), 0)
    assert isinstance(denial, Denial)
    assert (denial.limit, denial.left) == (1000, 200)
    it.now_s = 60
    assert isinstance(it.one.take_alone(Asked(0, 300), it.now_s), Admission)


def test_what_was_let_in_without_the_store_counts_when_it_is_back() -> None:
    it = Scene(requests_per_min=100)
    it.let_in()
    it.one.report((), 0)
    it.one.failed(0)
    for _ in range(5):
        assert isinstance(it.one.take_alone(SMALL, 1.0), Admission)
    it.now_s = 2.0
    it.tell()
    assert it.used()["requests_per_min"][0] == 6


def test_how_limits_stand_is_told_of_the_tightest() -> None:
    it = Scene(requests_per_min=10, tokens_per_min=1000, tokens_per_day=900)
    it.let_in(Asked(0, 100)).settle(100)
    requests, tokens = it.one.standing(0)
    assert requests is not None
    assert tokens is not None
    assert (requests.limit, requests.remaining, requests.reset_s) == (10, 9, 60.0)
    assert (tokens.limit, tokens.remaining) == (900, 800)
    assert Scene(concurrent_requests=1).one.standing(0) == (None, None)


def test_a_load_is_reserved_until_there_is_a_place_and_counts_if_it_was_begun() -> None:
    it = Scene(cold_starts_per_day=1)
    warm, cold = it.let_in(), it.let_in()
    assert warm.no_load_s(0) is None
    assert cold.no_load_s(0) == 1.0  # the one that there is is reserved
    warm.placed()
    assert cold.no_load_s(0) is None
    cold.loading()
    cold.placed()
    assert cold.no_load_s(0) is None  # it is tried elsewhere: that is the same one
    cold.settle(None)
    it.tell()
    assert it.used()["cold_starts_per_day"] == (1, 0)
    denied_s = it.let_in().no_load_s(0)
    assert denied_s is not None
    assert denied_s > 3600


def test_a_request_that_ends_without_a_place_gives_its_load_back() -> None:
    it = Scene(cold_starts_per_day=1)
    one = it.let_in()
    assert one.no_load_s(0) is None
    one.settle(None)
    assert it.one.reserved == 0
    assert it.let_in().no_load_s(0) is None


def test_a_key_without_such_a_limit_may_cause_any_load() -> None:
    it = Scene(requests_per_min=5)
    one = it.let_in()
    assert one.no_load_s(0) is None
    one.loading()
    one.placed()


def test_without_the_store_loads_are_counted_alone() -> None:
    it = Scene(cold_starts_per_day=1)
    one, other = it.one.take_alone(SMALL, 0), it.one.take_alone(SMALL, 0)
    assert isinstance(one, Admission)
    assert isinstance(other, Admission)
    assert one.no_load_s(0) is None
    assert other.no_load_s(0) == DAY_LEFT_S


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "end", "tell", "lose", "wait"]), st.integers(0, 400)),
    max_size=80,
)


@settings(deadline=None)
@given(STEPS)
def test_whatever_gateways_do_a_window_never_has_more_than_its_limit(steps: list[tuple[str, str, int]]) -> None:
    it = Scene("a", "b", "c", requests_per_min=12, tokens_per_min=1000, concurrent_requests=4)
    running: list[tuple[Admission, int]] = []
    in_window: dict[int, list[int]] = {}
    for name, step, number in steps:
        if step == "enter" and isinstance(outcome := it.enter(Asked(number, 10), name), Admission):
            running.append((outcome, number + 10))
            in_window.setdefault(int(it.now_s // 60), []).append(number + 10)
        elif step == "end" and running:
            admission, _ = running.pop(number % len(running))
            admission.settle(None)
        elif step == "tell":
            it.tell(name=name)
        elif step == "lose":
            holding = it.holdings[name]
            settle(it.book, holding.report([SMALL], it.now_s), EPOCH_S + it.now_s)
            holding.failed(it.now_s)
        elif step == "wait":
            it.now_s += number / 40
            for other, holding in it.holdings.items():
                if holding.is_due(it.now_s) or holding.in_flight:
                    it.tell(name=other)
        assert len(running) <= 4
    for used in in_window.values():
        assert len(used) <= 12
        assert sum(used) <= 1000


@pytest.mark.parametrize("has_left", [False, True])
def test_what_was_given_in_answers_that_were_lost_is_not_used_by_anybody(has_left: bool) -> None:
    it = Scene(tokens_per_day=20_000, cold_starts_per_day=4)
    if has_left:
        it.let_in().settle(0)
        while it.book.holders:
            it.now_s += RENEW_S
            it.tell()
    for _ in range(5):
        it.lose(Asked(100, 4000))
        it.now_s += 2
    it.let_in(Asked(100, 4000)).settle(0)
    it.tell()
    assert [use.used for use in use_now(it.book, it.limits, EPOCH_S + it.now_s)] == [0, 0]


def test_a_window_that_was_closed_here_and_is_open_at_the_store_counts_though_answers_are_lost() -> None:
    it = Scene(tokens_per_day=20_000)
    it.now_s = 86400 - EPOCH_S % 86400 - 10  # a day ends in 10 s
    it.let_in(Asked(0, 4000)).settle(3000)
    it.tell()
    it.now_s += 9.995
    it.lose(Asked(0, 100))
    (use,) = use_now(it.book, it.limits, EPOCH_S + it.now_s)
    assert use.used >= 3000
