"""A Jetson's GPU, by what its kernel shows: the host's RAM is its memory."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.discovery.tegra import TegraProbe

NOBODY: frozenset[int] = frozenset()
MEMINFO = f"MemTotal: {30000 * 1024} kB\nMemAvailable: {20000 * 1024} kB\n"
ORIN = "NVIDIA Jetson AGX Orin Developer Kit"


def a_jetson(root: Path, model: str = ORIN) -> Path:
    files = {"proc/device-tree/model": f"{model}\0", "proc/meminfo": MEMINFO}
    return plant(root, {**files, "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n"})


def test_a_jetson_is_one_gpu_with_all_the_ram(tmp_path: Path) -> None:
    assert TegraProbe(a_jetson(tmp_path)).scan() == Scan(
        devices=(FoundDevice(name=ORIN, kind="cuda", vram_total_mb=30000, compute_capability="8.7", unified=True),),
        driver_version="36.4.0",
    )


@pytest.mark.parametrize(
    ("model", "capability"),
    [
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "8.7"),
        ("NVIDIA Jetson Nano Developer Kit", "5.3"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "11.0"),
        ("Jetson-AGX", None),
    ],
)
def test_what_it_computes_is_known_by_its_model(tmp_path: Path, model: str, capability: str | None) -> None:
    (device,) = TegraProbe(a_jetson(tmp_path, model)).scan().devices
    assert device.compute_capability == capability


def test_a_reading_has_the_ram_the_load_and_the_temperature(tmp_path: Path) -> None:
    a_jetson(tmp_path)
    plant(
        tmp_path,
        {
            "sys/devices/platform/gpu.0/load": "325\n",
            "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
            "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
            "sys/class/thermal/thermal_zone1/temp": "41500\n",
        },
    )
    probe = TegraProbe(tmp_path)
    probe.scan()
    assert probe.read(NOBODY) == (Reading(vram_used_mb=10000, vram_free_mb=20000, utilization_pct=32.5, temp_c=41.5),)


def test_what_it_does_not_show_is_unknown(tmp_path: Path) -> None:
    probe = TegraProbe(a_jetson(tmp_path))
    probe.scan()
    (tmp_path / "proc/meminfo").unlink()
    assert probe.read(NOBODY) == (Reading(),)


@pytest.mark.parametrize("model", ["Raspberry Pi 5 Model B Rev 1.0", ""])
def test_another_board_is_none(tmp_path: Path, model: str) -> None:
    probe = TegraProbe(a_jetson(tmp_path, model))
    assert (probe.scan(), probe.read(NOBODY)) == (Scan(), ())
    assert TegraProbe(tmp_path / "none").scan() == Scan()
