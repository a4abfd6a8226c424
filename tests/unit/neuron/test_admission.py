"""Whether a load gets memory: by the books, the newest sample, and what of it is our own engines'."""

from collections.abc import Mapping

import pytest

from cortex.contract.node import Device, DeviceKind
from cortex.neuron.admission import Admission
from cortex.neuron.discovery.interface import ProcessUse, Reading
from cortex.neuron.refusal import NoRoom
from cortex.neuron.sampler import Snapshot
from cortex.residency.fit import DeviceRoom, Fit, room_mb

GPU_A = Device(index=0, name="a", vram_total_mb=24000)
GPU_B = Device(index=1, name="b", vram_total_mb=24000)
CPU = Device(index=2, name="cpu", vram_total_mb=64000, kind="cpu")

ANY_GPU: frozenset[DeviceKind] = frozenset({"cuda"})
ANY: frozenset[DeviceKind] = frozenset({"cuda", "cpu"})


def used(used_mb: int | None, processes: Mapping[int, tuple[int, int]] | None = None) -> Reading:
    """Return a reading; ``processes``: held and counted MiB by pid."""
    told = None if processes is None else {pid: ProcessUse(*use) for pid, use in processes.items()}
    return Reading(vram_used_mb=used_mb, processes=told)


def admission(*readings: Reading, pids: Mapping[str, int] | None = None, headroom_mb: int = 1000) -> Admission:
    snapshot = Snapshot(taken_s=0, readings=readings)
    return Admission((GPU_A, GPU_B, CPU), headroom_mb, lambda: snapshot, lambda: pids or {})


def resident(of: Admission, key: str, need_mb: int, *devices: int) -> None:
    """Enter a running engine."""
    of.book.adopt(key, need_mb, devices)


NOTHING_USED = (used(0, {}), used(0, {}), used(0, {}))


def test_what_fits_is_reserved() -> None:
    memory = admission(*NOTHING_USED)
    assert isinstance(memory.admit("m", 30000, (0, 1)), Fit)
    assert [memory.book.reserved_mb(device) for device in (0, 1, 2)] == [15000, 15000, 0]


def test_a_refusal_says_what_is_missing_where_and_reserves_nothing() -> None:
    memory = admission(used(4000, {}), used(0, {}), used(0, {}))
    resident(memory, "other", 5000, 0)
    memory.book.offer("other", is_evictable=True)
    with pytest.raises(NoRoom) as refusal:
        memory.admit("m", 40000, (0, 1))
    assert refusal.value.message == ("40000 MiB do not fit: device 0 has 14000 MiB free of 24000, 20000 are needed")
    assert refusal.value.details["reason"] == "no_room"
    assert refusal.value.details["devices"] == [
        {
            "index": 0,
            "need_mb": 20000,
            "free_mb": 14000,
            "missing_mb": 6000,
            "evictable_mb": 5000,
            "total_mb": 24000,
        },
        {"index": 1, "need_mb": 20000, "free_mb": 23000, "missing_mb": 0, "evictable_mb": 0, "total_mb": 24000},
    ]
    assert memory.book.reservations == ()


def test_what_is_larger_than_the_device_is_told_so() -> None:
    with pytest.raises(NoRoom, match="it would not fit on the empty device either") as refusal:
        admission(*NOTHING_USED).admit("m", 24000, (0,))
    assert (refusal.value.details["reason"], refusal.value.details["need_mb"]) == ("too_large", 24000)


def test_a_device_that_is_not_there_is_no_room() -> None:
    with pytest.raises(NoRoom, match="device 7 has 0 MiB free of 0, 10 are needed"):
        admission(*NOTHING_USED).admit("m", 10, (7,))


def test_strangers_are_what_is_in_use_and_not_ours() -> None:
    memory = admission(used(10000, {7: (6500, 6000), 8: (900, 900)}), pids={"ours": 7, "loading": 8})
    resident(memory, "ours", 6000, 0)
    assert memory.strangers_mb(0) == 4000, "pid 8 holds no share yet"


def test_an_engine_is_a_stranger_where_it_holds_no_share() -> None:
    """The RAM of an engine on a GPU is in no book, and is not free either."""
    memory = admission(used(6000, {7: (6000, 6000)}), used(0, {}), used(9000, {7: (9500, 8000)}), pids={"ours": 7})
    resident(memory, "ours", 6000, 0)
    assert (memory.strangers_mb(0), memory.strangers_mb(2)) == (0, 9000)


def test_where_processes_are_not_told_an_engine_uses_what_it_declared() -> None:
    memory = admission(used(10000), used(10000), pids={"ours": 7})
    resident(memory, "ours", 6000, 0)
    assert (memory.strangers_mb(0), memory.strangers_mb(1)) == (4000, 10000)


def test_where_processes_are_not_told_an_engine_that_loads_hides_no_stranger() -> None:
    snapshots = [Snapshot(taken_s=0, readings=(used(10000),))]
    memory = Admission((GPU_A,), 1000, lambda: snapshots[-1], lambda: {"ours": 7, "second": 8})
    memory.admit("ours", 8000, (0,))
    memory.begin("ours")
    assert memory.strangers_mb(0) == 10000
    with pytest.raises(NoRoom, match="device 0 has 5000 MiB free"):
        memory.admit("second", 6000, (0,))
    snapshots.append(Snapshot(taken_s=1, readings=(used(13000),)))
    assert memory.strangers_mb(0) == 10000, "what came was its own"
    memory.admit("second", 4000, (0,))
    memory.begin("second")
    snapshots.append(Snapshot(taken_s=2, readings=(used(20000),)))
    assert memory.strangers_mb(0) == 10000
    memory.settle("ours")
    assert memory.strangers_mb(0) == 20000 - 8000 - 4000
    memory.release("second")
    assert memory.strangers_mb(0) == 20000 - 8000


def test_strangers_are_never_less_than_none() -> None:
    memory = admission(used(100), pids={"ours": 7})
    resident(memory, "ours", 6000, 0)
    assert memory.strangers_mb(0) == 0


@pytest.mark.parametrize("readings", [(), (used(None),)], ids=["no sample yet", "a device that does not tell"])
def test_strangers_can_be_unknown_and_do_not_stand_in_the_way(readings: tuple[Reading, ...]) -> None:
    memory = admission(*readings)
    assert memory.strangers_mb(0) is None
    verdict = memory.admit("m", 1000, (0,))
    assert isinstance(verdict, Fit)
    assert not verdict.is_certain


def test_rooms_are_all_devices_with_their_strangers() -> None:
    assert admission(used(5, {}), used(None), used(7, {})).rooms() == (
        DeviceRoom(index=0, total_mb=24000, strangers_mb=5),
        DeviceRoom(index=1, total_mb=24000, strangers_mb=None),
        DeviceRoom(index=2, total_mb=64000, strangers_mb=7),
    )


def test_what_an_engine_was_seen_to_hold_counts_when_it_is_more_than_it_declared() -> None:
    memory = admission(used(9000, {7: (9000, 9000)}), used(500, {7: (500, 500)}), pids={"ours": 7})
    resident(memory, "ours", 12000, 0, 1)
    memory.observe()
    (ours,) = memory.book.residents
    assert [(share.held_mb, share.measured_mb) for share in ours.shares] == [(9000, 9000), (6000, 500)]


def test_an_engine_without_a_process_is_not_measured() -> None:
    memory = admission(used(9000, {7: (9000, 9000)}))
    resident(memory, "ours", 6000, 0)
    memory.observe()
    assert memory.book.residents[0].shares[0].measured_mb is None


def test_a_process_is_held_where_a_probe_tells_of_it() -> None:
    memory = admission(used(9000, {7: (9000, 8000)}), used(9), used(500, {7: (500, 500), 8: (1, 1)}))
    assert memory.held_mb(7) == {0: 9000, 2: 500}


@pytest.mark.parametrize(
    ("kinds", "count", "need_mb", "expected"),
    [
        (ANY, None, 10000, (1,)),
        (ANY, None, 30000, (0, 1)),
        (ANY, 2, 10000, (0, 1)),
        (ANY, None, 60000, (1,)),
        (ANY, 2, 60000, (0, 1)),
        (ANY, 3, 10000, ()),
        (frozenset({"cpu"}), None, 10000, (2,)),
        (frozenset({"rocm"}), None, 10000, ()),
        (frozenset(), None, 0, ()),
    ],
    ids=[
        "the emptiest GPU",
        "as few as hold it",
        "as many as asked for",
        "the fewest when nothing holds it",
        "as many as asked for when nothing holds it",
        "too few GPUs, though there is a CPU",
        "the CPU",
        "no device of the kind",
        "no device needed",
    ],
)
def test_devices_are_chosen_for_a_load_that_names_none(
    kinds: frozenset[DeviceKind], count: int | None, need_mb: int, expected: tuple[int, ...]
) -> None:
    memory = admission(used(8000, {}), used(2000, {}), used(0, {}))
    assert memory.choose(kinds, count, need_mb) == expected


def test_a_device_that_does_not_tell_what_is_in_use_is_the_last_choice() -> None:
    memory = admission(used(None), used(20000, {}), used(0, {}))
    assert memory.choose(ANY_GPU, None, 1000) == (1,)
    assert memory.choose(ANY_GPU, None, 10000) == (0,), "only it could hold it"
    assert memory.choose(ANY_GPU, 2, 1000) == (0, 1)


def test_a_device_in_trouble_is_the_last_choice_whatever_it_said_before() -> None:
    stale = Reading(vram_used_mb=0, processes={}, trouble="its driver does not answer")
    assert admission(stale, used(20000, {}), used(0, {})).choose(ANY_GPU, None, 1000) == (1,)


def test_devices_of_different_kinds_and_several_mig_devices_are_never_taken_together() -> None:
    kinds: tuple[DeviceKind, ...] = ("mig", "mig", "rocm", "cuda", "rocm")
    devices = tuple(Device(index=n, name="d", vram_total_mb=1000, kind=kind) for n, kind in enumerate(kinds))
    snapshot = Snapshot(taken_s=0, readings=(used(0, {}),) * 5)
    memory = Admission(devices, 0, lambda: snapshot, dict)
    every = frozenset(kinds)
    assert memory.choose(every, None, 900) == (0,)
    assert memory.choose(every, None, 1900) == (2, 4)
    assert memory.choose(every, 2, 100) == (2, 4)
    assert memory.choose(frozenset({"mig"}), 2, 100) == ()


def test_memory_that_a_gpu_and_the_cpu_share_is_promised_once() -> None:
    devices = (
        Device(index=0, name="GB10", vram_total_mb=120000, unified=True),
        Device(index=1, name="cpu", vram_total_mb=120000, kind="cpu"),
        Device(index=2, name="card", vram_total_mb=24000),
    )
    readings = [used(20000, {7: (15000, 15000)}), used(20000, {}), used(0, {})]
    snapshot = Snapshot(taken_s=0, readings=tuple(readings))
    memory = Admission(devices, 0, lambda: snapshot, lambda: {"ours": 7})
    resident(memory, "ours", 40000, 0)
    memory.observe()
    memory.admit("loading", 30000, (1,))
    # In use are 20000, 15000 of them ours on the GPU; to come are 25000 of ours, and 30000 of the load on the CPU.
    assert [memory.strangers_mb(device) for device in (0, 1, 2)] == [5000 + 30000, 20000 + 25000, 0]
    with pytest.raises(NoRoom):
        memory.admit("too much", 45001, (0,))
    memory.admit("just so much", 45000, (0,))
    with pytest.raises(NoRoom):
        memory.admit("nothing is left", 1, (1,))


def test_devices_that_come_and_go_are_rooms_from_then_on() -> None:
    memory = admission(*NOTHING_USED)
    resident(memory, "ours", 6000, 0, 1)
    memory.renew((GPU_B, CPU))
    assert [room.index for room in memory.rooms()] == [1, 2]
    assert memory.choose(ANY_GPU, None, 1000) == (1,)
    assert memory.declared_mb("ours") == {0: 3000, 1: 3000}


def test_without_a_gpu_the_cpu_is_chosen() -> None:
    memory = Admission((CPU,), 0, lambda: Snapshot(taken_s=0), dict)
    assert memory.choose(ANY, None, 10) == (2,)


def test_promises_to_other_loads_count_when_devices_are_chosen() -> None:
    memory = admission(*NOTHING_USED)
    memory.admit("first", 20000, (0,))
    assert memory.choose(ANY_GPU, None, 10000) == (1,)


def test_a_process_with_several_models_is_divided_among_them_and_counted_once() -> None:
    memory = admission(used(20_000, {7: (18_000, 18_000)}), pids={"a": 7, "b": 7}, headroom_mb=0)
    resident(memory, "a", 10_000, 0)
    resident(memory, "b", 4_000, 0)
    memory.observe()
    assert (memory.measured_mb("a"), memory.measured_mb("b")) == ({0: 12_000}, {0: 6_000})
    assert memory.strangers_mb(0) == 2_000
    (room, *_), residents = memory.rooms(), memory.book.residents
    assert room_mb(room, residents, (), 0) == 24_000 - 20_000


def test_what_was_never_measured_is_not_known() -> None:
    memory = admission(used(0), pids={"a": 7})
    resident(memory, "a", 10, 0)
    memory.observe()
    assert memory.measured_mb("a") == {}
    assert memory.measured_mb("nobody") == {}


def test_devices_are_chosen_as_if_those_were_gone_who_are_to_go() -> None:
    memory = admission(*NOTHING_USED)
    resident(memory, "stays", 20000, 0)
    resident(memory, "goes", 21000, 1)
    assert memory.choose(ANY_GPU, 1, 10000) == (0,)
    assert memory.choose(ANY_GPU, 1, 10000, ["goes"]) == (1,)
