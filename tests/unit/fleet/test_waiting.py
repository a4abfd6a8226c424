"""The order and the patience of those who wait."""

from cortex.fleet.waiting import Room, Waiting, overdue


def test_only_those_who_waited_for_the_bound_are_overdue() -> None:
    room = Room((ticket, Waiting(ticket, "m", (), float(ticket))) for ticket in range(5))
    assert [waiting.ticket for waiting in overdue(room, now_s=12.0, bound_s=10.0)] == [0, 1, 2]
    assert overdue(room, now_s=9.0, bound_s=10.0) == []
    assert overdue(Room(), now_s=99.0, bound_s=10.0) == []
