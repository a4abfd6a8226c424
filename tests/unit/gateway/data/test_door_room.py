"""Room at a door is counted exactly, in all and by address."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cortex.gateway.data.door_room import DoorRoom


def test_without_limits_everybody_finds_room() -> None:
    room = DoorRoom()
    assert all(room.enter("192.0.2.1") for _ in range(100))
    assert (room.taken, room.turned_away) == (100, 0)


def test_over_the_limit_there_is_none_until_somebody_leaves() -> None:
    room = DoorRoom(2)
    assert [room.enter(f"192.0.2.{n}") for n in range(3)] == [True, True, False]
    room.leave("192.0.2.0")
    assert room.enter("192.0.2.7")
    assert (room.taken, room.turned_away) == (2, 1)


def test_one_address_does_not_take_the_room_of_others() -> None:
    room = DoorRoom(10, 2)
    assert [room.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert room.enter("192.0.2.2")


def test_a_host_with_many_ipv6_addresses_is_one() -> None:
    room = DoorRoom(0, 2)
    assert [room.enter(f"2001:db8::{n:x}") for n in range(3)] == [True, True, False]
    assert room.enter("2001:db8:0:1::1")
    assert room.enter("fe80::1%eth0")


def test_an_ipv4_address_in_ipv6s_clothes_is_itself() -> None:
    room = DoorRoom(0, 1)
    assert room.enter("::ffff:192.0.2.1")
    assert room.enter("::ffff:192.0.2.2")
    assert not room.enter("192.0.2.1")


def test_a_proxy_and_a_local_socket_may_have_any_number() -> None:
    room = DoorRoom(0, 1, lambda address: address == "10.0.0.1")
    assert all(room.enter("10.0.0.1") for _ in range(5))
    assert all(room.enter("") for _ in range(5))
    assert room.enter("10.0.0.2")
    assert not room.enter("10.0.0.2")


def test_strangers_however_many_leave_room_for_who_is_trusted() -> None:
    room = DoorRoom(8, 2, kept=3, is_trusted=lambda address: address.startswith("10."))
    assert [room.enter(f"192.0.2.{n}") for n in range(8)] == [True] * 5 + [False] * 3
    assert [room.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert room.enter("10.0.0.2")
    assert not room.enter("10.0.0.3")
    room.leave("10.0.0.1")
    assert not room.enter("192.0.2.9")
    assert room.enter("10.0.0.3")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(("192.0.2.1", "192.0.2.2", "2001:db8::1", "")))))
def test_counts_are_exact_whoever_comes_and_goes(steps: list[tuple[bool, str]]) -> None:
    room, there = DoorRoom(5, 2), Counter[str]()
    for comes, address in steps:
        if comes:
            has_room = there.total() < 5 and (not address or there[address] < 2)
            assert room.enter(address) == has_room
            there[address] += has_room
        elif there[address]:
            room.leave(address)
            there[address] -= 1
        assert room.taken == there.total()
    for address in there.elements():
        room.leave(address)
    assert room.taken == 0
    assert room._by_address == {}
