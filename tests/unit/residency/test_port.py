"""Ports go round: the one given back last is used last."""

from cortex.residency.port import PortRotation


def free(_port):
    return True


def test_both_ends_of_the_range_are_handed_out_and_then_none():
    ports = PortRotation(8100, 8102)
    assert [ports.take(free) for _ in range(4)] == [8100, 8101, 8102, None]


def test_a_port_given_back_is_used_after_all_others():
    ports = PortRotation(1, 3)
    first = ports.take(free)
    ports.give_back(first)
    assert [ports.take(free) for _ in range(3)] == [2, 3, 1]


def test_a_port_that_is_busy_on_the_host_is_skipped_and_tried_again_later():
    ports = PortRotation(1, 3)
    assert ports.take(lambda port: port != 1) == 2
    assert [ports.take(free), ports.take(free)] == [3, 1]


def test_when_all_are_busy_there_is_none():
    assert PortRotation(1, 3).take(lambda port: False) is None


def test_a_claimed_port_is_not_handed_out_and_a_foreign_one_is_ignored():
    ports = PortRotation(1, 2)
    ports.claim(1)
    ports.claim(99)
    assert [ports.take(free), ports.take(free)] == [2, None]


def test_giving_back_what_nobody_has_changes_nothing():
    ports = PortRotation(1, 1)
    ports.give_back(1)
    ports.give_back(7)
    assert [ports.take(free), ports.take(free)] == [1, None]
