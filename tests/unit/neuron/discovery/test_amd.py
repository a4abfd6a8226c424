"""AMD's GPUs by sysfs: cards with memory of their own, and APUs that use the host's."""

from pathlib import Path

import pytest
from tests.unit.neuron.discovery.sysfs_tree import MIB, plant_card, plant_client, plant_node
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.amd import AmdProbe
from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan

NOBODY: frozenset[int] = frozenset()
ADDRESS = "0000:03:00.0"
RX_7900 = {
    "product_name": "AMD Radeon RX 7900 XTX",
    "unique_id": "18c7e4e6a9f8b2e1",
    "numa_node": 0,
    "mem_info_vram_total": 24560 * MIB,
    "mem_info_vram_used": 1560 * MIB,
    "mem_info_gtt_total": 64000 * MIB,
    "mem_info_gtt_used": 100 * MIB,
    "gpu_busy_percent": 12,
    "hwmon/hwmon2/temp1_input": 47000,
    "hwmon/hwmon2/power1_average": 31000000,
    "hwmon/hwmon2/power1_cap": 327000000,
}
STRIX_HALO = {
    "unique_id": "0",
    "mem_info_vram_total": 512 * MIB,
    "mem_info_vram_used": 112 * MIB,
    "mem_info_gtt_total": 96000 * MIB,
    "mem_info_gtt_used": 6000 * MIB,
    "hwmon/hwmon2/power1_input": 9000000,
}


def a_card(root: Path, **changes: object) -> Path:
    plant_card(root, 0, "0x1002", ADDRESS, {**RX_7900, **changes})
    plant_node(root, 1, 51325, simd_count=192, gfx_target_version=110000, drm_render_minor=128)
    return root


def an_apu(root: Path, simds: int = 80) -> Path:
    plant(root, {"proc/meminfo": f"MemTotal: {128000 * 1024} kB\nMemAvailable: {50000 * 1024} kB\n"})
    plant_card(root, 0, "0x1002", ADDRESS, STRIX_HALO, device_id="0x1586")
    plant_node(root, 1, 9, simd_count=simds, gfx_target_version=110501, drm_render_minor=128)
    return root


def test_a_card_is_found_with_its_memory_name_and_target(tmp_path: Path) -> None:
    plant(a_card(tmp_path), {"sys/module/amdgpu/version": "6.12.12\n"})
    assert AmdProbe(tmp_path).scan() == Scan(
        devices=(
            FoundDevice(
                name="AMD Radeon RX 7900 XTX",
                kind="rocm",
                vram_total_mb=24560,
                compute_capability="gfx1100",
                uuid="GPU-18c7e4e6a9f8b2e1",
                numa=0,
            ),
        ),
        driver_version="6.12.12",
    )


def test_a_reading_has_memory_use_temperature_and_power(tmp_path: Path) -> None:
    probe = AmdProbe(a_card(tmp_path))
    probe.scan()
    assert probe.read(NOBODY) == (
        Reading(
            vram_used_mb=1560,
            vram_free_mb=23000,
            utilization_pct=12.0,
            temp_c=47.0,
            power_w=31.0,
            power_limit_w=327.0,
            processes={},
        ),
    )


@pytest.mark.parametrize(
    ("version", "target"),
    [(90402, "gfx942"), (90010, "gfx90a"), (110000, "gfx1100"), (100306, "gfx1036"), (120001, "gfx1201"), (0, None)],
)
def test_the_target_is_written_as_compilers_do(tmp_path: Path, version: int, target: str | None) -> None:
    a_card(tmp_path)
    plant_node(tmp_path, 1, 51325, simd_count=192, gfx_target_version=version, drm_render_minor=128)
    (device,) = AmdProbe(tmp_path).scan().devices
    assert device.compute_capability == target


def test_cards_are_in_the_order_of_the_compute_driver_and_then_by_address(tmp_path: Path) -> None:
    for number, address in enumerate(("0000:83:00.0", "0000:03:00.0", "0000:43:00.0")):
        plant_card(tmp_path, number, "0x1002", address, {**RX_7900, "unique_id": f"{number}a"})
    plant_node(tmp_path, 2, 1, simd_count=1, drm_render_minor=129)
    plant_node(tmp_path, 1, 2, simd_count=1, drm_render_minor=128)
    assert [device.uuid for device in AmdProbe(tmp_path).scan().devices] == ["GPU-0a", "GPU-1a", "GPU-2a"]


def test_a_card_that_the_compute_driver_does_not_know_is_known_by_its_number(tmp_path: Path) -> None:
    plant_card(tmp_path, 0, "0x1002", ADDRESS, {"mem_info_vram_total": 4096 * MIB, "unique_id": ""})
    (device,) = AmdProbe(tmp_path).scan().devices
    assert (device.name, device.uuid, device.compute_capability) == ("AMD GPU 0x744c", ADDRESS, None)


def test_an_apu_has_its_part_of_the_ram_and_all_that_it_may_use(tmp_path: Path) -> None:
    probe = AmdProbe(an_apu(tmp_path))
    (device,) = probe.scan().devices
    (reading,) = probe.read(NOBODY)
    assert (device.name, device.vram_total_mb, device.unified) == ("AMD GPU gfx1151", 96512, True)
    assert reading.vram_free_mb == 400 + 50000, "no more than the host has"
    assert (reading.power_w, reading.utilization_pct) == (9.0, None)


@pytest.mark.parametrize("missing", ["proc/meminfo", "sys/class/drm/card0/device/mem_info_gtt_used"])
def test_an_apu_that_does_not_tell_all_is_unknown(tmp_path: Path, missing: str) -> None:
    (an_apu(tmp_path) / missing).unlink()
    probe = AmdProbe(tmp_path)
    assert [device.vram_total_mb for device in probe.scan().devices] == [96512]
    assert probe.read(NOBODY)[0].vram_free_mb is None


def test_a_gpu_that_only_draws_desktops_is_none(tmp_path: Path) -> None:
    assert AmdProbe(an_apu(tmp_path, simds=4)).scan() == Scan()


def test_a_card_of_a_driver_that_tells_no_memory_is_none(tmp_path: Path) -> None:
    plant_card(tmp_path, 0, "0x1002", ADDRESS, {})
    assert AmdProbe(tmp_path).scan() == Scan()
    assert AmdProbe(tmp_path / "none").scan() == Scan()


def test_a_card_that_is_gone_is_in_trouble(tmp_path: Path) -> None:
    probe = AmdProbe(a_card(tmp_path))
    probe.scan()
    (tmp_path / "sys/class/drm/card0/device/mem_info_vram_total").unlink()
    (reading,) = probe.read(NOBODY)
    assert (reading.vram_used_mb, reading.trouble) == (None, "the kernel does not show it any more")


def test_what_engines_use_is_told_by_the_compute_driver_with_all_their_processes(tmp_path: Path) -> None:
    a_card(tmp_path)
    plant(
        tmp_path,
        {
            "sys/class/kfd/kfd/proc/7/vram_51325": f"{4000 * MIB}\n",
            "sys/class/kfd/kfd/proc/71/vram_51325": f"{500 * MIB + 1}\n",
            "sys/class/kfd/kfd/proc/99/vram_51325": f"{900 * MIB}\n",
            "proc/7/task/7/children": "71 ",
        },
    )
    probe = AmdProbe(tmp_path)
    probe.scan()
    (reading,) = probe.read(frozenset({7, 8}))
    assert reading.processes == {7: ProcessUse(4501, 4501)}


def test_where_the_compute_driver_does_not_tell_descriptors_do(tmp_path: Path) -> None:
    a_card(tmp_path)
    plant_client(tmp_path, 7, 3, ADDRESS, 1, vram="300 MiB", gtt="5 MiB")
    probe = AmdProbe(tmp_path)
    probe.scan()
    assert probe.read(frozenset({7}))[0].processes == {7: ProcessUse(300, 300)}


def test_a_process_that_hides_its_use_makes_the_card_untold(tmp_path: Path) -> None:
    a_card(tmp_path)
    plant(tmp_path, {"proc/7/fdinfo": "stands for a folder that may not be listed"})
    probe = AmdProbe(tmp_path)
    probe.scan()
    assert probe.read(frozenset({7}))[0].processes is None
