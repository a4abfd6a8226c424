"""The numbers of devices keep their meaning, whatever comes and goes; the CPU is the last, and not always one."""

from collections.abc import Iterable

import pytest

from cortex.contract.node import Device
from cortex.neuron.discovery.host import Host
from cortex.neuron.discovery.interface import FoundDevice, Scan
from cortex.neuron.inventory import Inventory, Numbering, keys_of

HOST = Host(hostname="h", os="o", kernel="k")
CPU = FoundDevice(name="cpu", kind="cpu", vram_total_mb=64000)


def gpu(uuid: str | None = "GPU-1", **more: object) -> FoundDevice:
    return FoundDevice(**{"name": "gpu", "kind": "cuda", "vram_total_mb": 24000, "uuid": uuid, **more})


def take(
    numbering: Numbering,
    *gpus: FoundDevice,
    trouble: str | None = None,
    used: Iterable[int] = (),
    cpu: FoundDevice = CPU,
) -> Inventory:
    """Scan these GPUs and the CPU."""
    scans = (Scan(devices=gpus, trouble=trouble), Scan(devices=(cpu,)))
    return numbering.take(HOST, scans, lambda index: index in set(used))


def numbers(inventory: Inventory) -> dict[int, str]:
    return {device.index: device.uuid or device.kind for device in inventory.devices}


def test_devices_are_numbered_in_the_order_of_their_probes_and_the_cpu_is_the_last() -> None:
    found = take(Numbering(True), gpu("GPU-1", compute_capability="8.9", numa=1), gpu("GPU-2"))
    assert found.devices == (
        Device(index=0, name="gpu", vram_total_mb=24000, compute_capability="8.9", uuid="GPU-1", numa=1),
        Device(index=1, name="gpu", vram_total_mb=24000, uuid="GPU-2"),
        Device(index=2, name="cpu", vram_total_mb=64000, kind="cpu"),
    )


@pytest.mark.parametrize(
    ("setting", "gpus", "trouble", "expected"),
    [
        (None, (), None, ["cpu"]),
        (None, (gpu(),), None, ["cuda"]),
        (None, (), "the driver is not loaded", []),
        (True, (gpu(),), None, ["cuda", "cpu"]),
        (True, (), "the driver is not loaded", ["cpu"]),
        (False, (), None, []),
        (None, (gpu(unified=True),), None, ["cuda"]),
    ],
    ids=[
        "there is no GPU",
        "there is one",
        "there is one that is out of order",
        "configured",
        "configured, and a GPU out of order",
        "configured away",
        "a GPU has its RAM",
    ],
)
def test_the_cpu_is_a_device_where_there_is_no_gpu_or_when_configured(
    setting: bool | None, gpus: tuple[FoundDevice, ...], trouble: str | None, expected: list[str]
) -> None:
    assert [device.kind for device in take(Numbering(setting), *gpus, trouble=trouble).devices] == expected


def test_a_device_that_one_scan_misses_stays_and_one_that_two_miss_is_gone_and_leaves_its_number_empty() -> None:
    numbering = Numbering(True)
    take(numbering, gpu("GPU-1"), gpu("GPU-2"))
    found = take(numbering, gpu("GPU-2"))
    assert (numbers(found), found.missing) == ({0: "GPU-1", 1: "GPU-2", 2: "cpu"}, {0})
    found = take(numbering, gpu("GPU-2"))
    assert (numbers(found), found.missing) == ({1: "GPU-2", 2: "cpu"}, frozenset())


def test_a_device_that_comes_back_has_its_number_again() -> None:
    numbering = Numbering(False)
    take(numbering, gpu("GPU-1"), gpu("GPU-2"))
    for _ in range(2):
        take(numbering, gpu("GPU-2"))
    assert numbers(take(numbering, gpu("GPU-2"), gpu("GPU-3"))) == {1: "GPU-2", 2: "GPU-3"}
    assert numbers(take(numbering, gpu("GPU-1"), gpu("GPU-2"), gpu("GPU-3"))) == {0: "GPU-1", 1: "GPU-2", 2: "GPU-3"}


def test_a_miss_is_forgotten_when_the_device_is_seen_again() -> None:
    numbering = Numbering(False)
    take(numbering, gpu())
    for _ in range(3):
        take(numbering)
        assert numbers(take(numbering, gpu())) == {0: "GPU-1"}


def test_numbers_that_engines_still_go_by_are_kept_over_a_restart() -> None:
    numbering = Numbering(True)
    numbering.keep({"GPU-2": 1, "GPU-old": 1, "GPU-3": 2})
    found = take(numbering, gpu("GPU-1"), gpu("GPU-2"))
    assert numbers(found) == {1: "GPU-2", 3: "GPU-1", 4: "cpu"}, "the third one's driver is late"
    assert numbers(take(numbering, gpu("GPU-1"), gpu("GPU-2"), gpu("GPU-3")))[2] == "GPU-3"


def test_a_gpu_that_appears_later_goes_before_the_cpu() -> None:
    numbering = Numbering(True)
    assert numbers(take(numbering, gpu("GPU-1"))) == {0: "GPU-1", 1: "cpu"}
    assert numbers(take(numbering, gpu("GPU-0"), gpu("GPU-1"))) == {0: "GPU-1", 1: "GPU-0", 2: "cpu"}


def test_a_driver_that_comes_up_after_the_neuron_turns_a_node_of_a_cpu_into_one_of_gpus() -> None:
    numbering = Numbering(None)
    assert numbers(take(numbering)) == {0: "cpu"}
    assert numbers(take(numbering, gpu("GPU-1"), gpu("GPU-2"))) == {0: "GPU-1", 1: "GPU-2"}


def test_a_gpu_waits_for_the_cpus_number_while_something_is_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    numbering = Numbering(None)
    take(numbering)
    for _ in range(3):
        assert numbers(take(numbering, gpu(), used=[0])) == {0: "cpu"}
    assert caplog.messages == ["gpu has appeared; it is offered when nothing is on the CPU (device 0)"]
    assert numbers(take(numbering, gpu())) == {0: "GPU-1"}


def test_a_cpu_in_use_stays_a_device_whatever_appears_beside_it() -> None:
    numbering = Numbering(None)
    take(numbering)
    assert numbers(take(numbering, gpu("GPU-1"), used=[0])) == {0: "cpu"}
    assert numbers(take(numbering, gpu("GPU-1"))) == {0: "GPU-1"}


def test_a_trouble_that_comes_later_takes_no_cpu_away() -> None:
    numbering = Numbering(None)
    take(numbering)
    assert numbers(take(numbering, trouble="the driver is not loaded")) == {0: "cpu"}


def test_a_device_is_shown_as_the_newest_scan_has_it() -> None:
    numbering = Numbering(True)
    take(numbering, gpu())
    smaller = FoundDevice(name="cpu", kind="cpu", vram_total_mb=32000)
    found = take(numbering, gpu(vram_total_mb=23000), cpu=smaller)
    assert [device.vram_total_mb for device in found.devices] == [23000, 32000]


def test_devices_without_a_uuid_are_told_apart_by_their_place() -> None:
    numbering = Numbering(False)
    assert numbers(take(numbering, gpu(None), gpu(None))) == {0: "cuda", 1: "cuda"}
    assert len(take(numbering, gpu(None), gpu(None)).devices) == 2


def test_keys_tell_every_device_of_a_scan_from_all_others() -> None:
    scan = Scan(devices=(gpu("GPU-1"), gpu(None), gpu(None), gpu("GPU-1")))
    assert keys_of(3, scan) == ("GPU-1", "3 cuda gpu", "3 cuda gpu #1", "GPU-1 #1")


def test_the_place_among_its_kind_is_the_drivers_not_the_numbers() -> None:
    numbering = Numbering(True)
    take(numbering, gpu("GPU-2"))
    found = take(numbering, gpu("GPU-1"), gpu("GPU-2"), gpu("AMD-1", kind="rocm"))
    places = {device.uuid or "cpu": found.ordinals[device.index] for device in found.devices}
    assert places == {"GPU-2": 1, "GPU-1": 0, "AMD-1": 0, "cpu": 0}


@pytest.mark.parametrize(
    ("versions", "toolkit", "expected"),
    [
        ({"cuda_driver_version": "13.1", "driver_version": "595.80"}, "12.9.1", ("12.9.1", "13.1", "595.80")),
        ({"cuda_driver_version": "13.1"}, None, ("13.1", "13.1", None)),
        ({"cuda_driver_version": "13.1", "cuda_version": "12.8"}, None, ("12.8", "13.1", None)),
        ({}, None, (None, None, None)),
    ],
    ids=["the toolkit's", "else the driver's", "else what a probe knows", "none"],
)
def test_cuda_version_is_the_toolkits_if_found(
    versions: dict[str, str], toolkit: str | None, expected: tuple[str | None, ...]
) -> None:
    host = Host(hostname="h", os="o", kernel="k", cuda_toolkit_version=toolkit)
    found = Numbering(True).take(host, (Scan(devices=(gpu(),), **versions), Scan(devices=(CPU,))))
    assert (found.cuda_version, found.cuda_driver_version, found.driver_version) == expected


def test_troubles_of_all_probes_are_told() -> None:
    assert take(Numbering(None), trouble="no driver").troubles == ("no driver",)
