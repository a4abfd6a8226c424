"""Who goes, who stays, and what is cut."""

import pytest

from cortex.residency.drain import Drain, Look

QUIET, UNSEEN = Look(in_flight=0), Look(in_flight=0, is_acknowledged=False)
BUSY, SILENT = Look(in_flight=2), Look(in_flight=None)


def judged(drain, *looks_at):
    """Return the verdicts on looks, given as pairs of time and what was seen."""
    return [drain.judge(seen if isinstance(seen, tuple) else (seen,), now_s) for now_s, seen in looks_at]


@pytest.mark.parametrize("kind", ["eviction", "due", "maintenance"])
def test_an_instance_goes_that_was_quiet_twice(kind):
    assert judged(Drain(kind, 10), (0, QUIET), (1, QUIET)) == ["wait", "drained"]


@pytest.mark.parametrize("kind", ["eviction", "due", "maintenance"])
def test_nobody_goes_before_every_holder_has_acknowledged(kind):
    drain = Drain(kind, 10)
    assert judged(drain, (0, UNSEEN), (1, UNSEEN), (2, QUIET), (3, QUIET)) == ["wait", "wait", "wait", "drained"]


def test_an_eviction_is_given_up_at_the_first_request():
    assert judged(Drain("eviction", 10), (0, QUIET), (1, BUSY)) == ["wait", "given_up"]


@pytest.mark.parametrize("seen", [UNSEEN, SILENT], ids=["not acknowledged", "engine silent"])
def test_an_eviction_is_given_up_when_its_time_is_over(seen):
    assert judged(Drain("eviction", 10), (9, seen), (10, seen)) == ["wait", "given_up"]


@pytest.mark.parametrize("kind", ["eviction", "due", "maintenance"])
def test_the_second_quiet_look_may_come_late(kind):
    assert judged(Drain(kind, 0), (5, QUIET), (6, QUIET)) == ["wait", "drained"]


def test_one_that_is_due_goes_on_as_long_as_requests_run():
    assert judged(Drain("due", 10), (0, BUSY), (1000, BUSY), (1001, QUIET), (1002, QUIET))[1:] == [
        "wait",
        "wait",
        "drained",
    ]


@pytest.mark.parametrize("seen", [UNSEEN, SILENT], ids=["not acknowledged", "engine silent"])
def test_one_that_is_due_does_not_wait_for_ever_for_who_says_nothing(seen):
    assert judged(Drain("due", 10), (9, seen), (10, seen)) == ["wait", "given_up"]


def test_maintenance_is_given_up_or_cuts_when_its_time_is_over():
    assert judged(Drain("maintenance", 10), (9, BUSY), (10, BUSY)) == ["wait", "given_up"]
    assert judged(Drain("maintenance", 10, is_forced=True), (9, BUSY), (10, BUSY)) == ["wait", "cut"]


def test_force_shortens_and_never_lengthens():
    drain = Drain("maintenance", 100)
    drain.force(10)
    assert judged(drain, (9, BUSY), (10, BUSY)) == ["wait", "cut"]
    drain.force(1000)
    assert judged(drain, (10, SILENT)) == ["cut"]


def test_a_request_between_two_looks_begins_the_count_again():
    assert judged(Drain("maintenance", 10), (0, QUIET), (1, BUSY), (2, QUIET), (3, QUIET))[-2:] == ["wait", "drained"]


def test_several_go_only_when_all_of_them_are_quiet_at_once():
    drain = Drain("due", 10)
    assert judged(drain, (0, (QUIET, BUSY)), (1, (BUSY, QUIET)), (2, (QUIET, QUIET)), (3, (QUIET, QUIET))) == [
        "wait",
        "wait",
        "wait",
        "drained",
    ]
    assert judged(Drain("eviction", 10), (0, (QUIET, BUSY))) == ["given_up"]
