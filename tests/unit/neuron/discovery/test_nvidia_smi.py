"""NVIDIA GPUs by way of a program that replays what real machines answered, and how they failed."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.neuron.discovery.nvidia_smi_replay import FIELDS, GB10, H200, H200_MIG, L40S, RTX_4080, Replay
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.discovery.nvidia_smi import NvidiaSmiProbe

NOBODY: frozenset[int] = frozenset()
MEMINFO = {"proc/meminfo": "MemTotal:       125829120 kB\nMemAvailable:   104857600 kB\n"}


@pytest.fixture
def smi(tmp_path: Path) -> Replay:
    return Replay(tmp_path)


def probe_of(smi: Replay, root: Path | None = None) -> NvidiaSmiProbe:
    return NvidiaSmiProbe(root or smi.path.parent, str(smi.path))


def scanned(smi: Replay, *lines: str, root: Path | None = None) -> NvidiaSmiProbe:
    """Return a probe that has found the GPUs of these lines."""
    smi.has(*lines)
    probe = probe_of(smi, root)
    assert len(probe.scan().devices) == len(lines)
    return probe


def test_gpus_are_found_in_the_programs_order_with_their_versions(smi: Replay) -> None:
    smi.has(RTX_4080, H200)
    assert probe_of(smi).scan() == Scan(
        devices=(
            FoundDevice(
                name="NVIDIA GeForce RTX 4080 SUPER",
                kind="cuda",
                vram_total_mb=16376,
                compute_capability="8.9",
                uuid="GPU-4080",
            ),
            FoundDevice(
                name="NVIDIA H200", kind="cuda", vram_total_mb=143771, compute_capability="9.0", uuid="GPU-h200"
            ),
        ),
        driver_version="595.71.05",
        cuda_driver_version="13.1",
    )


@pytest.mark.parametrize(
    ("table", "version"),
    [
        ("| NVIDIA-SMI 535.161.08  Driver Version: 535.161.08  CUDA Version: 12.2 |\n", "12.2"),
        ("| NVIDIA-SMI 610.10  KMD Version: 610.10  CUDA UMD Version: 13.4 |\n", "13.4"),
        ("| NVIDIA-SMI 595.80  Driver Version: 595.80  CUDA Version: N/A |\n", None),
    ],
)
def test_the_newest_cuda_is_read_from_the_plain_table(smi: Replay, table: str, version: str | None) -> None:
    smi.has(RTX_4080)
    smi.says("table", table)
    assert probe_of(smi).scan().cuda_driver_version == version


def test_a_reading_counts_the_drivers_own_part_as_used(smi: Replay) -> None:
    (reading,) = scanned(smi, RTX_4080).read(NOBODY)
    assert reading == Reading(
        vram_used_mb=16376 - 15348,
        vram_free_mb=15348,
        utilization_pct=0.0,
        temp_c=43.0,
        power_w=26.2,
        power_limit_w=320.0,
        processes={},
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (RTX_4080, ("NVIDIA GeForce RTX 4080 SUPER", 16376, "8.9", 1028, 15348, 0.0, 43.0, 26.2, 320.0)),
        (H200, ("NVIDIA H200", 143771, "9.0", 613, 143158, 0.0, 28.0, 77.71, 700.0)),
        (L40S, ("NVIDIA L40S", 46068, "8.9", 608, 45460, 100.0, 63.0, 144.97, 350.0)),
        (GB10, ("NVIDIA GB10", 122880, "12.1", 20480, 102400, 0.0, 35.0, 11.17, None)),
    ],
    ids=["RTX 4080 SUPER", "H200", "L40S", "GB10"],
)
def test_each_real_machine_is_read_as_it_was(
    smi: Replay, tmp_path: Path, line: str, expected: tuple[object, ...]
) -> None:
    smi.has(line)
    probe = probe_of(smi, plant(tmp_path, MEMINFO))
    (device,), (reading,) = probe.scan().devices, probe.read(NOBODY)
    assert (
        device.name, device.vram_total_mb, device.compute_capability, reading.vram_used_mb, reading.vram_free_mb,
        reading.utilization_pct, reading.temp_c, reading.power_w, reading.power_limit_w,
    ) == expected  # fmt: skip


def test_a_cell_that_is_not_told_is_unknown(smi: Replay) -> None:
    probe = scanned(smi, H200)
    smi.has(H200_MIG)
    (reading,) = probe.read(NOBODY)
    assert (reading.utilization_pct, reading.temp_c) == (None, 28.0)


def test_only_fields_that_the_driver_knows_are_asked_for(smi: Replay) -> None:
    smi.knows([field for field in FIELDS if field not in ("compute_cap", "power.draw")])
    scanned(smi, RTX_4080).read(NOBODY)
    asked = [call.split()[0] for call in smi.calls() if call.startswith("--query-gpu")]
    assert asked == [
        "--query-gpu=uuid,name,driver_version,memory.total,mig.mode.current",
        "--query-gpu=uuid,memory.total,memory.used,memory.free,utilization.gpu,temperature.gpu,power.limit",
    ]


def test_where_no_field_is_listed_all_are_asked_for(smi: Replay) -> None:
    smi.says("help", "no list today\n")
    scanned(smi, RTX_4080)
    assert smi.calls()[1].startswith("--query-gpu=uuid,name,driver_version,compute_cap,memory.total,mig.mode.current ")


def test_the_list_of_fields_is_asked_for_until_it_is_told(smi: Replay) -> None:
    smi.says("help", "", code=9)
    probe = probe_of(smi)
    assert probe.scan().devices == ()
    smi.knows(FIELDS)
    smi.has(RTX_4080)
    assert len(probe.scan().devices) == 1


def test_without_the_program_there_is_nothing(tmp_path: Path) -> None:
    probe = NvidiaSmiProbe(tmp_path, str(tmp_path / "none"))
    assert (probe.scan(), probe.read(NOBODY)) == (Scan(), ())


def test_with_no_gpu_found_nothing_is_asked_any_more(smi: Replay) -> None:
    smi.has()
    probe = probe_of(smi)
    assert probe.scan() == Scan()
    before = smi.calls()
    assert probe.read(NOBODY) == ()
    assert smi.calls() == before


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n",
            18,
            "reboot after the driver's update: Failed to initialize NVML: Driver/library version mismatch NVML library",
        ),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9, "driver is not loaded"),
        ("No devices were found\n", 6, "no device is visible"),
        ("Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error\n", 15, "fallen off the bus"),
        ("Failed to initialize NVML: Unknown Error\n", 255, "it failed: Failed to initialize NVML: Unknown Error"),
        (
            "Failed to initialize NVML: GPU access blocked by the operating system\n",
            17,
            "access is blocked by the operating",
        ),
        ('Field "memory.reserved" is not a valid field to query.\n', 2, "does not know a field"),
        ("", 1, "ended with code 1"),
    ],
    ids=["mismatch", "not loaded", "no devices", "off the bus", "unknown", "blocked", "unknown field", "silent"],
)
def test_a_failure_is_told_in_words_and_nothing_is_read_from_it(
    smi: Replay, caplog: pytest.LogCaptureFixture, text: str, code: int, words: str
) -> None:
    smi.says("gpu", text, code)
    found = probe_of(smi).scan()
    assert found.devices == ()
    assert words in (found.trouble or "")
    assert words in caplog.text
    assert found.is_driver_mismatched == (code == 18)


def test_a_gpu_that_is_lost_later_is_unknown_and_the_others_go_on(smi: Replay) -> None:
    probe = scanned(smi, RTX_4080, H200)
    smi.has(H200)
    lost, there = probe.read(NOBODY)
    assert (lost.vram_used_mb, lost.vram_free_mb, lost.temp_c) == (None, None, None)
    assert "does not list it any more" in (lost.trouble or "")
    assert there.trouble is None
    assert there.vram_free_mb == 143158


def test_readings_that_fail_are_unknown(smi: Replay) -> None:
    probe = scanned(smi, RTX_4080)
    smi.says("gpu", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9)
    smi.says("apps", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9)
    (reading,) = probe.read(frozenset({7}))
    assert "the driver is not loaded" in (reading.trouble or "")
    assert reading == Reading(trouble=reading.trouble)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "uuid, memory.total [MiB]\n",
        "uuid\nGPU-4080\n",
        "uuid, memory.free [MiB]\nGPU-4080, nan\n",
        "\0,\xfe",
    ],
    ids=["nothing", "empty lines", "a header alone", "a field too few", "no number", "bytes"],
)
def test_garbage_is_unknown(smi: Replay, text: str) -> None:
    probe = scanned(smi, RTX_4080)
    smi.says("gpu", text)
    (reading,) = probe.read(NOBODY)
    assert reading == Reading(processes={}, trouble=reading.trouble)


def test_bytes_that_are_no_text_do_no_harm(smi: Replay) -> None:
    smi.has(RTX_4080.replace("SUPER", "\udcff"))
    (device,) = probe_of(smi).scan().devices
    assert device.name == "NVIDIA GeForce RTX 4080 \ufffd"


@pytest.mark.parametrize("cell", ["[Unknown Error]", "[Function Not Found]", "[GPU requires reset]", "[GPU is lost]"])
def test_a_cell_that_names_a_fault_is_logged_once(smi: Replay, caplog: pytest.LogCaptureFixture, cell: str) -> None:
    probe = scanned(smi, RTX_4080)
    smi.has(RTX_4080.replace("26.20", cell))
    assert [probe.read(NOBODY)[0].power_w for _ in range(3)] == [None] * 3
    assert caplog.messages == [f"{smi.path} says {cell} instead of power.draw"]


@pytest.mark.parametrize("cell", ["", "N/A", "[N/A]", "[Not Supported]", "[Insufficient Permissions]"])
def test_a_cell_may_be_absent_in_several_words(smi: Replay, caplog: pytest.LogCaptureFixture, cell: str) -> None:
    probe = scanned(smi, RTX_4080)
    smi.has(RTX_4080.replace(" 43,", f" {cell},"))
    assert probe.read(NOBODY)[0].temp_c is None
    assert caplog.messages == []


def test_an_absent_cell_is_not_worth_a_word(smi: Replay, caplog: pytest.LogCaptureFixture) -> None:
    probe = scanned(smi, H200)
    smi.has(H200_MIG)
    probe.read(NOBODY)
    assert caplog.messages == []


def test_a_trouble_that_stays_is_logged_once_although_other_calls_work(
    smi: Replay, caplog: pytest.LogCaptureFixture
) -> None:
    probe = scanned(smi, RTX_4080)
    smi.says("apps", "no permission\n", 4)
    for _ in range(3):
        probe.read(frozenset({7}))
    assert len(caplog.messages) == 1


def test_a_trouble_that_comes_back_is_logged_again(smi: Replay, caplog: pytest.LogCaptureFixture) -> None:
    probe = scanned(smi, RTX_4080)
    for code in (4, 0, 4):
        smi.says("apps", "gpu_uuid\n", code)
        probe.read(frozenset({7}))
    assert len(caplog.messages) == 2


HANGING = "#!/bin/sh\nread -r line < {fifo}\n"


def test_a_program_that_hangs_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = tmp_path / "smi"
    script.write_text(HANGING.format(fifo=tmp_path / "fifo"))
    script.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        assert NvidiaSmiProbe(tmp_path, str(script), deadline_s=0.05).scan().devices == ()
    assert "cannot be run: no answer within 0.05 s" in caplog.text


def test_a_file_that_is_no_program_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = tmp_path / "smi"
    script.write_text("\x7fELF not")
    script.chmod(0o755)
    found = NvidiaSmiProbe(tmp_path, str(script)).scan()
    assert found.devices == ()
    assert "cannot be run" in (found.trouble or "")
    assert "cannot be run" in caplog.text


def test_only_our_processes_are_told_and_each_with_all_its_lines(smi: Replay) -> None:
    probe = scanned(smi, RTX_4080, H200)
    smi.runs("GPU-4080, 7, 1000", "GPU-4080, 7, 24", "GPU-4080, 9, 500", "GPU-h200, 8, 2000", "GPU-h200, [N/A], 1")
    first, second = probe.read(frozenset({7, 8}))
    assert first.processes == {7: ProcessUse(1024, 1024)}
    assert second.processes == {8: ProcessUse(2000, 2000)}


@pytest.mark.parametrize("cell", ["[N/A]", "[Insufficient Permissions]"])
def test_a_use_that_is_hidden_makes_that_gpu_untold(smi: Replay, cell: str) -> None:
    probe = scanned(smi, RTX_4080, H200)
    smi.runs(f"GPU-4080, 7, {cell}", "GPU-4080, 7, 500", "GPU-h200, 8, 2000")
    first, second = probe.read(frozenset({7, 8}))
    assert first.processes is None
    assert second.processes == {8: ProcessUse(2000, 2000)}


def test_nobody_is_looked_for_where_nobody_runs(smi: Replay) -> None:
    scanned(smi, RTX_4080).read(NOBODY)
    assert not any("compute-apps" in call for call in smi.calls())


def link_namespace(root: Path, name: str) -> None:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to(name)


@pytest.mark.parametrize(
    ("prepare", "lines", "expected"),
    [
        (lambda root: link_namespace(root, "pid:[4026532999]"), (), None),
        (lambda root: link_namespace(root, "pid:[4026532999]"), ("GPU-4080, 4711, 900",), None),
        (lambda root: link_namespace(root, "pid:[4026532999]"), ("GPU-4080, 7, 900",), {7: ProcessUse(900, 900)}),
        (lambda root: link_namespace(root, "pid:[4026531836]"), (), {}),
        (lambda root: None, (), {}),
    ],
    ids=["a container", "with the host's numbers", "that is told its own", "the host", "an unreadable /proc"],
)
def test_in_a_container_an_absence_from_the_list_says_nothing(
    smi: Replay,
    tmp_path: Path,
    prepare: Callable[[Path], None],
    lines: tuple[str, ...],
    expected: dict[int, ProcessUse] | None,
) -> None:
    root = tmp_path / "root"
    prepare(root)
    probe = scanned(smi, RTX_4080, root=root)
    smi.runs(*lines)
    assert probe.read(frozenset({7}))[0].processes == expected


def test_a_gpu_that_shares_the_hosts_ram_has_all_of_it(smi: Replay, tmp_path: Path) -> None:
    smi.has(GB10)
    probe = probe_of(smi, plant(tmp_path, MEMINFO))
    (device,) = probe.scan().devices
    (reading,) = probe.read(NOBODY)
    assert (device.vram_total_mb, device.compute_capability) == (122880, "12.1")
    assert (reading.vram_used_mb, reading.vram_free_mb, reading.power_w) == (20480, 102400, 11.17)


def test_a_shared_ram_that_cannot_be_read_is_unknown(smi: Replay, tmp_path: Path) -> None:
    smi.has(GB10)
    probe = probe_of(smi, plant(tmp_path, MEMINFO))
    probe.scan()
    (tmp_path / "proc/meminfo").unlink()
    assert probe.read(NOBODY)[0].vram_used_mb is None
    assert probe.scan().devices == ()


def test_a_card_of_its_own_that_does_not_tell_its_memory_is_left_out(
    smi: Replay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    smi.has(GB10.replace("GB10", "L40S").replace("12.1", "8.9"), H200)
    devices = probe_of(smi, plant(tmp_path, MEMINFO)).scan().devices
    assert [device.uuid for device in devices] == ["GPU-h200"]
    assert "GPU NVIDIA L40S does not tell its memory and is left out" in caplog.text


@pytest.mark.parametrize("total", ["0", "-5", "nan"])
def test_a_card_whose_memory_is_no_amount_is_left_out(smi: Replay, tmp_path: Path, total: str) -> None:
    smi.has(L40S.replace("46068", total), H200)
    devices = probe_of(smi, plant(tmp_path, MEMINFO)).scan().devices
    assert [device.uuid for device in devices] == ["GPU-h200"]


def test_a_figure_that_a_driver_tells_of_shared_ram_is_not_believed(smi: Replay, tmp_path: Path) -> None:
    smi.has(
        GB10.replace("NVIDIA GB10", "NVIDIA N1X").replace("12.1, [N/A], [N/A], [N/A], [N/A]", "12.1, 8192, 0, 0, 8192")
    )
    (device,) = probe_of(smi, plant(tmp_path, MEMINFO)).scan().devices
    assert (device.vram_total_mb, device.unified) == (122880, True)


def test_a_gpu_in_mig_mode_is_not_offered_as_a_whole(smi: Replay, caplog: pytest.LogCaptureFixture) -> None:
    smi.has(H200_MIG, RTX_4080)
    assert [device.uuid for device in probe_of(smi).scan().devices] == ["GPU-4080"]
    assert "GPU NVIDIA H200 is in MIG mode" in caplog.text


def test_a_gpu_without_a_name_or_uuid_is_found_all_the_same(smi: Replay) -> None:
    smi.has(RTX_4080.replace("NVIDIA GeForce RTX 4080 SUPER", "[N/A]").replace("GPU-4080", "[N/A]"))
    (device,) = probe_of(smi).scan().devices
    assert (device.name, device.uuid) == ("NVIDIA GPU", None)
