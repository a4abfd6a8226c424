"""Memory is counted once, evenly and never too low; an answer says what is missing where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex.residency.fit import (
    DeviceRoom,
    Fit,
    Infeasible,
    Reservation,
    Resident,
    even_share_mb,
    even_shares,
    fits,
    room_mb,
)


def room(index=0, total_mb=24000, strangers_mb=0):
    return DeviceRoom(index=index, total_mb=total_mb, strangers_mb=strangers_mb)


def resident(key="m", declared_mb=0, devices=(0,), measured_mb=None, is_evictable=False):
    return Resident(key=key, shares=even_shares(declared_mb, devices, measured_mb), is_evictable=is_evictable)


def test_an_empty_device_takes_all_but_the_headroom():
    assert isinstance(fits(23500, (0,), [room()], headroom_mb=500), Fit)
    assert isinstance(fits(23501, (0,), [room()], headroom_mb=500), Infeasible)


def test_what_the_empty_device_could_not_hold_is_too_large():
    assert fits(24001, (0,), [room(strangers_mb=9000)]).reason == "too_large"


def test_strangers_make_no_room_but_not_too_large():
    verdict = fits(20000, (0,), [room(strangers_mb=5000)])
    assert verdict.reason == "no_room"
    (device,) = verdict.devices
    assert (device.need_mb, device.free_mb, device.missing_mb) == (20000, 19000, 1000)


@pytest.mark.parametrize(("declared", "measured"), [(8000, 3000), (3000, 8000), (8000, None)])
def test_of_promise_and_measurement_the_larger_counts(declared, measured):
    guest = resident(declared_mb=declared, measured_mb=None if measured is None else {0: measured})
    assert fits(16001, (0,), [room()], residents=[guest]).devices[0].free_mb == 16000


def test_reservations_count_like_residents():
    promise = Reservation(key="p", shares=even_shares(8000, (0,)))
    assert fits(16000, (0,), [room()], reservations=[promise]).devices[0].missing_mb == 0
    assert fits(16001, (0,), [room()], reservations=[promise]).devices[0].missing_mb == 1


def test_a_need_is_split_evenly_and_rounded_up():
    verdict = fits(19001, (0, 1), [room(0), room(1)])
    assert [device.need_mb for device in verdict.devices] == [9501, 9501]


def test_one_full_device_of_two_is_enough_to_refuse():
    verdict = fits(20000, (0, 1), [room(0), room(1, strangers_mb=20000)])
    assert verdict.reason == "no_room"
    assert [device.missing_mb for device in verdict.devices] == [0, 6000]


def test_a_device_that_does_not_exist_is_named():
    verdict = fits(100, (0, 7), [room(0)])
    assert verdict.reason == "no_such_device"
    assert [device.index for device in verdict.devices] == [7]


def test_only_evictable_residents_count_as_evictable():
    guests = [resident("a", 5000, is_evictable=True), resident("b", 6000), resident("c", 4000, (1,), is_evictable=True)]
    verdict = fits(20000, (0,), [room(0), room(1)], residents=guests)
    assert verdict.devices[0].evictable_mb == 5000


def test_unknown_strangers_leave_it_to_the_books_and_say_so():
    verdict = fits(1000, (0,), [room(strangers_mb=None)])
    assert verdict == Fit(devices=verdict.devices, is_certain=False)
    assert fits(1000, (0,), [room(strangers_mb=None)], residents=[resident(declared_mb=23500)]).reason == "no_room"


def test_a_model_without_devices_needs_no_room():
    assert fits(5000, (), []) == Fit(devices=())


def test_an_overfull_device_has_no_free_memory_and_misses_the_overdraft_too():
    verdict = fits(100, (0,), [room(strangers_mb=20000)], residents=[resident(declared_mb=5000)])
    assert (verdict.devices[0].free_mb, verdict.devices[0].missing_mb) == (0, 1100)
    assert room_mb(room(strangers_mb=20000), [resident(declared_mb=5000)], (), 0) == -1000


@given(st.integers(0, 10**6), st.integers(1, 16))
def test_even_shares_never_add_up_to_less_than_the_whole(total_mb, count):
    assert total_mb <= even_share_mb(total_mb, count) * count < total_mb + count


@given(st.integers(0, 30000), st.integers(0, 30000), st.integers(0, 30000), st.integers(0, 2000))
def test_whatever_fits_leaves_the_headroom_free(need_mb, held_mb, strangers_mb, headroom_mb):
    verdict = fits(
        need_mb,
        (0,),
        [room(strangers_mb=strangers_mb)],
        residents=[resident(declared_mb=held_mb)],
        headroom_mb=headroom_mb,
    )
    assert isinstance(verdict, Fit) == (need_mb + held_mb + strangers_mb + headroom_mb <= 24000)
