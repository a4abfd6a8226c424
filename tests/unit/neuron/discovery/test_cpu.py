"""The CPU as a device: its memory is the host's or its control groups', and what cannot be read is None, never 0."""

import logging
import os
from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.cpu import CpuProbe
from cortex.neuron.discovery.interface import ProcessUse, Reading

GIB = 1 << 30
MEMINFO = (
    "MemTotal:       32768000 kB\nMemFree:         1024000 kB\nMemAvailable:   20480000 kB\nHugePages_Total:       0\n"
)
"""32,000 MiB, of which 20,000 are available."""

NOBODY: frozenset[int] = frozenset()


def reading(root: Path, pids: frozenset[int] = NOBODY) -> Reading:
    (only,) = CpuProbe(root).read(pids)
    return only


def memory(root: Path) -> tuple[int, int | None, int | None]:
    """Return what the probe says is there, used and free."""
    probe = CpuProbe(root)
    (device,), (now,) = probe.scan().devices, probe.read(NOBODY)
    return device.vram_total_mb, now.vram_used_mb, now.vram_free_mb


def test_memory_is_the_hosts_and_what_is_available_counts_as_free(tmp_path: Path) -> None:
    assert memory(plant(tmp_path, {"proc/meminfo": MEMINFO})) == (32000, 12000, 20000)


@pytest.mark.parametrize("text", [None, "", "MemTotal: lots\n", "MemTotal:       32768000 kB\n"])
def test_without_a_known_memory_there_is_no_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    plant(tmp_path, {} if text is None else {"proc/meminfo": text})
    with caplog.at_level(logging.WARNING):
        assert CpuProbe(tmp_path).scan().devices == ()
    assert "proc/meminfo does not tell the memory" in caplog.text


def test_memory_that_can_no_longer_be_read_is_unknown_and_not_zero(tmp_path: Path) -> None:
    assert (reading(tmp_path).vram_used_mb, reading(tmp_path).vram_free_mb) == (None, None)


V2 = "sys/fs/cgroup/system.slice/cortex-neuron.service"
V1 = "sys/fs/cgroup/memory/docker/abc"
UNLIMITED_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/cortex-neuron.service\n",
                f"{V2}/memory.max": f"{8 * GIB}\n",
                f"{V2}/memory.current": f"{3 * GIB}\n",
                f"{V2}/memory.stat": f"anon {GIB}\ninactive_file {GIB // 2}\nactive_file {GIB // 4}\n"
                f"slab_reclaimable {GIB // 4}\nworkingset_refault_file 9\n",
            },
            (8192, 2048, 6144),
            id="a unit with MemoryMax",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/cortex-neuron.service\n",
                f"{V2}/memory.max": "max\n",
                f"{V2}/memory.current": f"{GIB}\n",
                "sys/fs/cgroup/system.slice/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/system.slice/memory.current": f"{3 * GIB}\n",
            },
            (4096, 3072, 1024),
            id="a slice above it",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
            },
            (2048, 2048, 0),
            id="a container, over its limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "9:name=systemd:/docker/abc\n4:cpu,memory:/docker/abc\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{16 * GIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * GIB}\n",
                "sys/fs/cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
            },
            (16384, 4096, 12288),
            id="version 1, in a container that cannot see its own path",
        ),
        pytest.param(
            {"proc/self/cgroup": "4:memory:/docker/abc\n", f"{V1}/memory.limit_in_bytes": UNLIMITED_V1},
            (32000, 12000, 20000),
            id="version 1 without a limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/../../other\n",
                "sys/fs/cgroup/memory.max": f"{24 * GIB}\n",
                "sys/fs/cgroup/memory.current": "unreadable\n",
            },
            (24576, 4576, 20000),
            id="an unknown use leaves the limit, and the host's own shortage",
        ),
    ],
)
def test_a_control_groups_limit_holds(tmp_path: Path, files: dict[str, str], expected: tuple[int, int, int]) -> None:
    assert memory(plant(tmp_path, {"proc/meminfo": MEMINFO, **files})) == expected


def test_of_a_process_only_what_is_not_page_cache_is_counted(tmp_path: Path) -> None:
    parts = b"VmRSS:\t  900000 kB\nRssAnon:\t  100000 kB\nRssFile:\t  799000 kB\nRssShmem:\t    1000 kB\n"
    plant(tmp_path, {"proc/7/status": b"Name:\t\xff\xfe llama\n" + parts})
    assert reading(tmp_path, frozenset({7})).processes == {7: ProcessUse(held_mb=879, counted_mb=99)}


def test_a_kernel_without_the_parts_counts_all_of_a_process(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/7/status": "Name:\tllama\nVmRSS:\t    2048 kB\n"})
    assert reading(tmp_path, frozenset({7})).processes == {7: ProcessUse(held_mb=2, counted_mb=2)}


def test_a_process_that_is_gone_or_a_zombie_is_not_named(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/8/status": "Name:\tllama\nState:\tZ (zombie)\n"})
    assert reading(tmp_path, frozenset({7, 8})).processes == {}


def utilization(root: Path, *stats: str) -> list[float | None]:
    probe = CpuProbe(root)
    found = []
    for stat in stats:
        plant(root, {"proc/stat": stat})
        found += [now.utilization_pct for now in probe.read(NOBODY)]
    return found


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1 1\n", "cpu  30 0 20 80 20 0 0 0 9 9\ncpu0 1 1\n"), [None, 60.0]),
        (("cpu  10 0 10 70 10 0 0 0\n", "cpu  10 0 10 70 10 0 0 0\n"), [None, None]),
        (("cpu  10 0 10 70 10 0 0 0\n", "cpu  20 0 10 70 5 0 0 0\n"), [None, 100.0]),
        (("", "garbage\n"), [None, None]),
    ],
    ids=["busy is all but idle and iowait", "no time has gone by", "iowait goes back", "nothing to read"],
)
def test_utilization_is_the_busy_share_since_the_last_reading(
    tmp_path: Path, stats: tuple[str, ...], expected: list[float | None]
) -> None:
    assert utilization(tmp_path, *stats) == expected


def test_temperature_is_that_of_the_cpus_sensor(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "sys/class/hwmon/hwmon0/name": "nvme\n",
            "sys/class/hwmon/hwmon0/temp1_input": "61000\n",
            "sys/class/hwmon/hwmon1/name": "coretemp\n",  # a sensor without a value
            "sys/class/hwmon/hwmon2/name": "k10temp\n",
            "sys/class/hwmon/hwmon2/temp1_input": "47625\n",
        },
    )
    assert reading(tmp_path).temp_c == 47.625


def test_without_a_sensor_the_temperature_is_unknown(tmp_path: Path) -> None:
    assert reading(tmp_path).temp_c is None


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 85\nmodel name\t: AMD  Ryzen 9\n\nmodel name\t: second\n", "AMD Ryzen 9"),
        ("processor\t: 0\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("model name\t: \nstepping\t: 7\n", "CPU"),
        ("processor\t: 0\n", "CPU"),
        (None, "CPU"),
    ],
    ids=["x86", "Raspberry Pi", "an empty name", "an ARM server", "unreadable"],
)
def test_the_device_is_named_as_proc_names_the_cpu(tmp_path: Path, cpuinfo: str | None, name: str) -> None:
    plant(tmp_path, {"proc/meminfo": MEMINFO} | ({} if cpuinfo is None else {"proc/cpuinfo": cpuinfo}))
    (device,) = CpuProbe(tmp_path).scan().devices
    assert (device.name, device.kind, device.compute_capability) == (name, "cpu", None)


def test_the_real_host_has_memory_and_this_process_uses_some() -> None:
    probe, own = CpuProbe(Path("/")), os.getpid()
    (device,), (now,) = probe.scan().devices, probe.read(frozenset({own}))
    assert device.vram_total_mb > (now.vram_used_mb or 0) > 0
    assert now.processes is not None
    assert now.processes[own].held_mb >= now.processes[own].counted_mb > 0
