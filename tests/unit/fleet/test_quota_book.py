"""The store's half: slices, refusals, and what becomes of those that are silent."""

from typing import Any

import pytest

from cortex.contract.key import KeyLimits, LimitUse
from cortex.fleet.quota import LEASE_S, MeterAnswer, MeterReport, PlaceReport, QuotaAnswer, QuotaReport
from cortex.fleet.quota_book import WANTED_S, QuotaBook, settle, use_now

NOW_S = 1_800_000_000.0  # a minute begins
WINDOW = int(NOW_S)
LIMIT = "requests_per_min"


def report(holder: str = "a", number: int = 1, *, since: int = 1, is_leaving: bool = False, **said: Any) -> QuotaReport:
    about = {"limit": 60, "window": WINDOW if number > since else None, "spent": 0, "reserved": 0, "kept": 0} | said
    return QuotaReport(
        key_id="k",
        holder=holder,
        number=number,
        since=since,
        meters={LIMIT: MeterReport(**about)},
        is_leaving=is_leaving,
    )


def told(book: QuotaBook, asked: QuotaReport, now_s: float = NOW_S) -> MeterAnswer:
    answer = settle(book, asked, now_s)
    assert answer is not None
    return answer.meters[LIMIT]


def test_a_slice_is_a_second_of_rate_beyond_what_waits() -> None:
    assert told(QuotaBook(), report(need=3, least=1, ahead=10)).free == 13


@pytest.mark.parametrize(("limit", "ahead", "free"), [(100, 80, 50), (1, 80, 1), (3, 1, 1), (0, 5, 0), (100, 0, 0)])
def test_a_slice_is_no_more_than_half_a_holders_share_and_no_less_than_one(limit: int, ahead: int, free: int) -> None:
    assert told(QuotaBook(), report(limit=limit, ahead=ahead)).free == free


def test_with_more_holders_slices_are_smaller() -> None:
    book = QuotaBook()
    assert told(book, report("a", limit=100, ahead=100)).free == 50
    assert told(book, report("b", limit=100, ahead=100)).free == 12
    assert told(book, report("c", limit=100, ahead=100)).free == 6


def test_who_asks_for_more_than_is_left_gets_nothing_and_hears_when_to_come_back() -> None:
    book = QuotaBook()
    told(book, report("a", limit=10, need=7, least=7))
    refused = told(book, report("b", limit=10, need=4, least=4), NOW_S + 10)
    assert (refused.free, refused.remaining, refused.retry_in_s) == (0, 3, 2.0)  # a holds what it may give back
    told(book, report("a", 2, limit=10, spent=7))
    refused = told(book, report("b", 2, limit=10, need=4, least=4), NOW_S + 10)
    assert refused.retry_in_s == 50.0


def test_who_holds_something_hears_that_another_waits_for_it_until_that_one_waits_no_more() -> None:
    book = QuotaBook()
    assert not told(book, report("a", limit=10, need=7, least=7)).is_wanted
    asked = told(book, report("b", limit=10, need=4, least=4))
    assert (asked.elsewhere, asked.is_wanted) == (7, False)
    assert told(book, report("a", 2, limit=10, spent=4, kept=3)).is_wanted
    assert not told(book, report("a", 3, limit=10, spent=4, kept=3), NOW_S + WANTED_S).is_wanted
    assert told(book, report("b", 2, limit=10, need=4, least=4)).retry_in_s == 2.0
    assert told(book, report("a", 4, limit=10, spent=4)).is_wanted
    assert told(book, report("b", 3, limit=10, need=4, least=4)).free == 4
    assert not told(book, report("a", 5, limit=10, spent=4)).is_wanted


def test_who_wants_more_than_all_have_together_takes_nothing_from_others() -> None:
    book = QuotaBook()
    told(book, report("a", 1, limit=10, need=3, least=3))
    told(book, report("a", 2, limit=10, spent=5, kept=2))
    assert told(book, report("b", 1, limit=10, need=6, least=6)).retry_in_s == 60.0
    assert not told(book, report("a", 3, limit=10, spent=5, kept=2)).is_wanted


def test_what_is_enough_for_the_least_who_waits_is_given() -> None:
    answer = told(QuotaBook(), report(limit=10, need=25, least=5))
    assert (answer.free, answer.remaining, answer.retry_in_s) == (10, 0, None)


def test_a_report_that_a_newer_one_has_overtaken_does_nothing() -> None:
    book = QuotaBook()
    told(book, report("a", 1, need=1, least=1))
    told(book, report("a", 3, spent=5))
    assert settle(book, report("a", 2, spent=1, kept=50), NOW_S) is None
    assert use_now(book, KeyLimits(requests_per_min=60), NOW_S)[0].used == 5


def test_a_report_that_arrives_twice_counts_once_and_takes_nothing_more() -> None:
    book, first = QuotaBook(), report("a", 1, need=1, least=1, ahead=10)
    assert told(book, first).free == 11
    assert settle(book, first, NOW_S) is None
    second = report("a", 2, spent=1, kept=10)
    assert told(book, second).free == 10
    assert settle(book, second, NOW_S) is None
    use = use_now(book, KeyLimits(requests_per_min=60), NOW_S)[0]
    assert (use.used, use.held) == (1, 10)


def test_what_was_said_twice_counts_once() -> None:
    book = QuotaBook()
    told(book, report("a", 1, need=1, least=1))
    for number in (2, 3, 4):
        told(book, report("a", number, spent=5, kept=2))
    assert use_now(book, KeyLimits(requests_per_min=60), NOW_S)[0] == LimitUse(
        limit=LIMIT, bound=60, used=5, held=2, resets_in_s=60.0
    )


def test_what_the_silent_held_counts_to_the_end_of_the_window_and_no_longer() -> None:
    book = QuotaBook()
    told(book, report("a", 1, limit=10, need=6, least=1))
    assert told(book, report("b", 1, limit=10, need=5, least=5), NOW_S + LEASE_S).free == 0
    assert "a" not in book.holders
    assert told(book, report("b", 2, limit=10, need=5, least=5), NOW_S + 60).free == 5


def test_who_comes_back_after_its_lease_begins_anew() -> None:
    book = QuotaBook()
    told(book, report("a", 1, limit=20, need=6, least=1))
    answer = settle(book, report("a", 2, limit=20, spent=4, kept=2, need=3, least=3), NOW_S + LEASE_S)
    assert answer is not None
    assert answer.is_forgotten
    assert (answer.meters[LIMIT].free, answer.meters[LIMIT].remaining) == (3, 11)
    again = settle(book, report("a", 3, since=2, limit=20, spent=3), NOW_S + LEASE_S)
    assert again is not None
    assert not again.is_forgotten
    assert use_now(book, KeyLimits(requests_per_min=20), NOW_S + LEASE_S)[0].used == 6 + 3


def test_who_leaves_is_forgotten_and_what_it_spent_is_not() -> None:
    book = QuotaBook()
    told(book, report("a", 1, limit=20, need=6, least=1))
    told(book, report("a", 2, limit=20, spent=4, is_leaving=True))
    assert book.holders == {}
    assert told(book, report("b", 1, limit=20, need=20, least=1)).free == 16


def test_a_window_that_the_gateway_has_closed_early_counts_as_it_was_held() -> None:
    book = QuotaBook()
    told(book, report("a", 1, limit=20, need=6, least=1))
    answer = told(book, report("a", 2, limit=20, window=None, closed=WINDOW, need=1, least=1))
    assert (answer.window, answer.free, answer.remaining) == (WINDOW, 1, 13)


def places(book: QuotaBook, holder: str, number: int, now_s: float = NOW_S, **said: int) -> QuotaAnswer:
    about = {"limit": 4, "in_flight": 0, "kept": 0} | said
    asked = QuotaReport(key_id="k", holder=holder, number=number, since=1, meters={}, places=PlaceReport(**about))
    answer = settle(book, asked, now_s)
    assert answer is not None
    return answer


def test_places_are_given_until_none_is_left_and_again_when_their_holder_is_silent() -> None:
    book = QuotaBook()
    first = places(book, "a", 1, need=3)
    assert first.places is not None
    assert (first.places.free, first.places.remaining) == (3, 1)
    second = places(book, "b", 1, need=2)
    assert second.places is not None
    assert (second.places.free, second.places.retry_in_s) == (1, None)
    third = places(book, "c", 1, need=1)
    assert third.places is not None
    assert (third.places.free, third.places.retry_in_s) == (0, 1.0)
    later = places(book, "c", 2, NOW_S + LEASE_S, need=1)
    assert later.places is not None
    assert (later.places.free, later.holders) == (1, 1)


def test_more_in_flight_than_there_may_be_is_believed_and_nothing_more_is_given() -> None:
    book = QuotaBook()
    places(book, "a", 1, need=4)
    back = places(book, "b", 1, in_flight=3, need=1)
    assert back.places is not None
    assert back.places.free == 0
    assert use_now(book, KeyLimits(concurrent_requests=4), NOW_S)[0].held == 7
