"""Who waits for which devices, in what order, and who has left the queue."""

from cortex.residency.ticket import ABSENCE_S, LATE_S, SILENCE_S, TicketBook


def draw(book, key, devices=(0,), now_s=0.0, retry_in_s=1.0, victims=()):
    return book.draw(key, devices, 100, victims, retry_in_s=retry_in_s, now_s=now_s)


def keys(tickets):
    return [ticket.key for ticket in tickets]


def test_who_came_first_is_ahead_of_who_came_later():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", now_s=0)
    draw(book, "b", now_s=1)
    assert keys(book.ahead("b", (0,), 2)) == ["a"]
    assert keys(book.ahead("a", (0,), 2)) == []
    assert keys(book.ahead("new", (0,), 2)) == ["a", "b"]


def test_asking_again_keeps_the_place_and_says_what_is_wanted_now():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", now_s=0)
    draw(book, "b", now_s=1)
    again = draw(book, "a", now_s=5, victims=("v",))
    assert (again.since_s, again.retry_s, again.victims) == (0, 6, ("v",))
    assert keys(book.waiting(6)) == ["a", "b"]


def test_only_those_are_ahead_who_wait_for_one_of_the_same_devices():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", (0,))
    draw(book, "b", (1, 2))
    assert keys(book.ahead("c", (2, 3), 0)) == ["b"]
    assert keys(book.ahead("c", (3,), 0)) == []


def test_a_model_has_one_ticket_per_set_of_devices_and_is_never_ahead_of_itself():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", (0, 1), now_s=0)
    assert draw(book, "a", (1, 0), now_s=3).since_s == 0
    assert draw(book, "a", (0,), now_s=4).since_s == 4
    assert keys(book.ahead("a", (0,), 5)) == []


def test_who_is_late_holds_up_nobody_until_it_asks_again():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", now_s=0, retry_in_s=2)
    draw(book, "b", now_s=1, retry_in_s=15)
    assert keys(book.ahead("b", (0,), 2 + LATE_S)) == ["a"]
    assert keys(book.ahead("b", (0,), 2.1 + LATE_S)) == []
    assert draw(book, "a", now_s=10).since_s == 0
    assert keys(book.ahead("b", (0,), 10)) == ["a"]


def test_who_does_not_ask_again_in_time_has_left_and_comes_last_when_back():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", now_s=0, retry_in_s=10)
    draw(book, "b", now_s=9, retry_in_s=15)
    assert keys(book.waiting(10 + ABSENCE_S)) == ["a", "b"]
    assert keys(book.waiting(10.1 + ABSENCE_S)) == ["b"]
    assert draw(book, "a", now_s=40).since_s == 40
    assert keys(book.waiting(40)) == ["b", "a"]


def test_who_is_told_to_ask_much_later_keeps_its_place_only_by_asking_before():
    book = TicketBook(max_wait_s=60)
    draw(book, "a", now_s=0, retry_in_s=600)
    assert draw(book, "a", now_s=SILENCE_S, retry_in_s=565).since_s == 0
    assert keys(book.waiting(2 * SILENCE_S)) == ["a"]
    assert keys(book.waiting(2 * SILENCE_S + 1)) == []


def test_a_ticket_is_due_when_it_has_waited_long_enough():
    book = TicketBook(max_wait_s=10)
    assert book.due_in_s("a", (0,), 5) == 10, "without a ticket all of it lies ahead"
    draw(book, "a", now_s=5)
    assert [book.due_in_s("a", (0,), now_s) for now_s in (5, 9, 15, 20)] == [10, 6, 0, 0]
    assert book.due_in_s("a", (1,), 20) == 10, "of another set of devices"


def test_a_model_that_is_served_has_no_ticket_any_more():
    book = TicketBook(max_wait_s=10)
    draw(book, "a", (0,))
    draw(book, "a", (1,))
    draw(book, "b", (0,))
    book.close("a")
    assert keys(book.waiting(0)) == ["b"]
