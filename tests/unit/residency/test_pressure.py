"""When strangers press on a device, and who makes room then."""

from cortex.residency.fit import Resident, even_shares
from cortex.residency.pressure import PRESSURE_S, PressureWatch, choose_relief


def resident(key, *devices):
    return Resident(key=key, shares=even_shares(100, devices))


def test_too_little_free_memory_is_pressure_only_when_it_lasts():
    watch = PressureWatch(headroom_mb=500)
    assert watch.note({0: 499}, 0) == frozenset()
    assert watch.note({0: 100}, PRESSURE_S - 1) == frozenset()
    assert watch.note({0: 499}, PRESSURE_S) == {0}


def test_enough_in_between_begins_the_time_again():
    watch = PressureWatch(headroom_mb=500)
    watch.note({0: 0}, 0)
    watch.note({0: 500}, 5)
    assert watch.note({0: 0}, PRESSURE_S) == frozenset()


def test_devices_are_watched_one_by_one_and_one_that_does_not_tell_is_under_none():
    watch = PressureWatch(headroom_mb=500)
    for now_s in (0, PRESSURE_S):
        pressed = watch.note({0: 0, 1: 9000, 2: None}, now_s)
    assert pressed == {0}


def test_who_has_been_idle_for_longest_on_the_device_makes_room():
    residents = [resident("here", 0), resident("elsewhere", 1), resident("long", 0, 1), resident("busy", 0)]
    idle_s = {"here": 5, "elsewhere": 500, "long": 50}
    assert choose_relief({0}, residents, idle_s) == "long"
    assert choose_relief({1}, residents, idle_s) == "elsewhere"


def test_nobody_goes_when_nobody_can():
    assert choose_relief({0}, [resident("busy", 0)], {}) is None
    assert choose_relief({7}, [resident("here", 0)], {"here": 5}) is None


def test_while_somebody_leaves_nobody_else_has_to():
    residents = [resident("going", 0), resident("idle", 0), resident("elsewhere", 1)]
    idle_s = {"idle": 5, "elsewhere": 5}
    assert choose_relief({0}, residents, idle_s, leaving={"going"}) is None
    assert choose_relief({1}, residents, idle_s, leaving={"going"}) == "elsewhere"
