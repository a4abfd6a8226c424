"""GPUs are judged by what the bus, the driver, its files and nvidia-smi say, each against the others."""

import pytest

from cortex.cli.doctor.host import FileState, Identity
from cortex.cli.doctor.node.gpu import (
    DeviceState,
    GpuLook,
    Smi,
    judge_agreement,
    judge_count,
    judge_driver,
    judge_files,
    judge_health,
    judge_peers,
    judge_persistence,
    judge_rights,
    judge_xids,
)

OPEN = FileState(0o666, 0, 0, is_readable=True)
CLOSED = FileState(0o660, 0, 4_000_044, is_readable=False)
FILES = {"nvidiactl": OPEN, "nvidia-uvm": OPEN, "nvidia0": OPEN, "nvidia1": OPEN}
WELL = GpuLook(
    on_bus={"NVIDIA": ("0000:01:00.0", "0000:02:00.0")},
    module="595.71.05",
    driver="595.71.05",
    devices=(("cuda", "RTX 4090"), ("cuda", "RTX 5090")),
    files=FILES,
    smi=Smi(0, (("GPU-a", "Enabled"), ("GPU-b", "Enabled"))),
)
BARE = GpuLook(on_bus={}, devices=(("cpu", "Xeon"),))
MIG = WELL._replace(devices=(("mig", "H200 MIG 1"), ("mig", "H200 MIG 2"), ("mig", "H200 MIG 3")))
DAEMON = Identity(990, frozenset({990, 4_000_039}), "cortex-neuron", "the service's user")


@pytest.mark.parametrize(
    ("seen", "result", "words"),
    [
        (WELL, "ok", "595.71.05"),
        (BARE, "ok", "no GPU of NVIDIA"),
        (GpuLook(on_bus={"AMD": ("0000:03:00.0",)}), "ok", "1 of AMD"),
        (WELL._replace(module="", driver=None), "fail", "no driver is loaded"),
        (WELL._replace(module="580.65.06"), "fail", "580.65.06"),
        (WELL._replace(driver=None, smi=Smi(18)), "fail", "library of another version"),
        (WELL._replace(driver=None, troubles=("NVML: Driver/library version mismatch",)), "fail", "another version"),
    ],
    ids=["well", "none", "amd", "unloaded", "updated", "smi", "nvml"],
)
def test_a_driver_is_loaded_and_of_one_version(seen: GpuLook, result: str, words: str) -> None:
    found = judge_driver(seen)
    assert (found.result, words in found.found) == (result, True)
    if "another version" in words:
        assert found.do == "reboot"


@pytest.mark.parametrize(
    ("seen", "result"),
    [
        (WELL, "ok"),
        (BARE, "ok"),
        (MIG, "ok"),
        (WELL._replace(smi=None), "skipped"),
        (WELL._replace(smi=Smi(15)), "fail"),
        (WELL._replace(devices=WELL.devices[:1]), "warn"),
    ],
    ids=["well", "none", "divided", "not installed", "fails", "fewer"],
)
def test_nvidia_smi_sees_what_the_neuron_sees(seen: GpuLook, result: str) -> None:
    assert judge_agreement(seen).result == result


@pytest.mark.parametrize(
    ("seen", "result"),
    [(WELL, "ok"), (MIG, "ok"), (BARE, "ok"), (WELL._replace(devices=WELL.devices[:1]), "fail")],
)
def test_a_gpu_that_is_plugged_in_and_not_offered_is_told(seen: GpuLook, result: str) -> None:
    assert judge_count(seen).result == result


@pytest.mark.parametrize(
    ("seen", "result", "words"),
    [
        (WELL, "ok", "/dev/nvidiactl"),
        (BARE, "ok", "none are needed"),
        (WELL._replace(files={}), "fail", "/dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia0"),
        (WELL._replace(files={"nvidiactl": OPEN, "nvidia0": OPEN}), "fail", "/dev/nvidia-uvm: not there"),
        (WELL._replace(files={}, module=""), "ok", ""),
        (GpuLook(on_bus={"AMD": ("a",)}), "warn", "/dev/kfd"),
        (GpuLook(on_bus={"AMD": ("a",)}, files={"kfd": OPEN}), "ok", "/dev/kfd"),
    ],
)
def test_a_driver_that_is_loaded_without_its_files_is_told_from_no_driver(
    seen: GpuLook, result: str, words: str
) -> None:
    found = judge_files(seen)
    assert (found.result, words in found.found) == (result, True)


def test_who_runs_the_neuron_may_open_the_files() -> None:
    (well,) = judge_rights(WELL, DAEMON)
    assert well.result == "ok"
    (closed,) = judge_rights(WELL._replace(files={**FILES, "kfd": CLOSED}), DAEMON)
    assert closed.result == "fail"
    assert closed.do == "usermod -aG 4000044 cortex-neuron; systemctl restart cortex-neuron"
    me = DAEMON._replace(whence="whoever runs doctor")
    assert [each.result for each in judge_rights(WELL._replace(files={"kfd": CLOSED}), me)] == ["skipped"]
    member = DAEMON._replace(gids=frozenset({4_000_044}))
    assert [each.result for each in judge_rights(WELL._replace(files={"kfd": CLOSED}), member)] == ["ok"]


@pytest.mark.parametrize(
    ("modes", "result"), [(("Enabled",), "ok"), (("Enabled", "Disabled"), "warn"), (("[N/A]",), "ok"), ((), "ok")]
)
def test_a_driver_that_goes_to_sleep_is_told(modes: tuple[str, ...], result: str) -> None:
    assert judge_persistence(WELL._replace(smi=Smi(0, tuple(("u", mode) for mode in modes)))).result == result


def test_devices_in_trouble_are_told_one_by_one() -> None:
    found = list(
        judge_health(
            [
                DeviceState(0, "RTX", None, "none", 0),
                DeviceState(1, "H200", None, "gpu_reset", 2),
                DeviceState(2, "L40S", "GPU is lost"),
            ]
        )
    )
    assert [(each.about, each.result, each.found) for each in found] == [
        ("device 1", "fail", "the driver asks for: gpu_reset"),
        ("device 1", "fail", "2 uncorrected ECC errors"),
        ("device 2", "warn", "GPU is lost"),
    ]
    assert [each.result for each in judge_health([DeviceState(0, "RTX")])] == ["ok"]


@pytest.mark.parametrize(
    ("numbers", "results"),
    [([], ["ok"]), ([13, 31], ["ok"]), ([79], ["fail"]), ([94], ["warn"]), ([45], ["warn"]), ([79, 79, 13], ["fail"])],
)
def test_critical_errors_are_told_by_what_they_ask_for(numbers: list[int], results: list[str]) -> None:
    lines = [f"NVRM: Xid (PCI:0000:83:00): {number}, pid=1234, GPU has fallen off the bus." for number in numbers]
    found = list(judge_xids(["NVRM: loading NVIDIA UNIX", *lines]))
    assert [each.result for each in found] == results
    if numbers == [79, 79, 13]:
        assert found[0].found == "Xid 79 at PCI:0000:83:00, 2 times since boot"


@pytest.mark.parametrize(
    ("gpus", "iommu", "cmdline", "words"),
    [
        (1, True, "", "one GPU"),
        (2, True, "quiet", "boot with iommu=pt"),
        (2, True, "iommu=pt", "no IOMMU stands between"),
        (2, False, "", "no IOMMU stands between"),
    ],
)
def test_what_may_slow_down_gpus_is_hinted_at(gpus: int, iommu: bool, cmdline: str, words: str) -> None:
    found = judge_peers(gpus, has_iommu=iommu, cmdline=cmdline)
    assert found.result == "ok"
    assert words in found.found
