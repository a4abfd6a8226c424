"""GPUs as the kernel's DRM shows them: which there are, and what processes have in their memory."""

import os
from pathlib import Path

import pytest
from tests.unit.neuron.discovery.sysfs_tree import plant_card, plant_client
from tests.unit.neuron.file_tree import plant

from cortex.neuron.drm_card import Card, cards_of, memory_of_process

ADDRESS = "0000:03:00.0"
CARD = Card(Path("/nowhere"), ADDRESS)


def test_cards_of_a_maker_are_found_by_address_without_their_outputs(tmp_path: Path) -> None:
    plant_card(tmp_path, 0, "0x1002", "0000:83:00.0", {"numa_node": 1})
    plant_card(tmp_path, 1, "0x1002", ADDRESS, {"numa_node": -1})
    plant_card(tmp_path, 2, "0x8086", "0000:00:02.0", {})
    plant(tmp_path, {"sys/class/drm/card3/device/vendor": "0x1002\n", "sys/class/drm/version": "drm 1.1.0\n"})
    found = list(cards_of("0x1002", tmp_path))
    assert [(card.folder.name, card.address, card.numa) for card in found] == [
        ("card1", ADDRESS, None),
        ("card0", "0000:83:00.0", 1),
    ]
    assert list(cards_of("0x1002", tmp_path / "none")) == []


def test_a_sensor_is_the_first_file_that_holds_a_number(tmp_path: Path) -> None:
    files = {"hwmon/hwmon3/temp1_input": "", "hwmon/hwmon4/temp1_input": 41000, "hwmon/hwmon4/power1_input": 5}
    plant_card(tmp_path, 0, "0x1002", ADDRESS, files)
    (card,) = cards_of("0x1002", tmp_path)
    assert card.sensor("temp1_input") == 41000
    assert card.sensor("power1_average", "power1_input") == 5
    assert card.sensor("fan1_input") is None


def test_a_process_has_what_its_clients_have_each_counted_once(tmp_path: Path) -> None:
    plant_client(tmp_path, 7, 3, ADDRESS, 11, vram="2048 KiB", gtt="9 MiB")
    plant_client(tmp_path, 7, 4, ADDRESS, 11, vram="2048 KiB")
    plant_client(tmp_path, 7, 5, ADDRESS, 12, vram="1 MiB")
    plant_client(tmp_path, 7, 6, "0000:83:00.0", 13, vram="512 MiB")
    plant_client(tmp_path, 7, 8, ADDRESS, None, vram="16")
    plant(tmp_path, {"proc/7/fdinfo/9": "pos:\t0\nflags:\t02\n"})
    assert memory_of_process(7, CARD, "vram", tmp_path) == (3 << 20) + 16


@pytest.mark.parametrize(
    ("line", "held_bytes"),
    [
        ("drm-total-vram0:\t4 KiB", 4096),
        ("drm-total-vram0:\t4 KiB\ndrm-total-vram1:\t4 KiB", 8192),
        ("drm-total-vram:\t4 KiB\ndrm-memory-vram:\t3 KiB", 4096),
        ("drm-total-vram:\tmany", 0),
        ("drm-resident-vram:\t4 KiB", 0),
    ],
    ids=["a numbered region", "several", "both fields", "no number", "another field"],
)
def test_drivers_name_their_memory_in_several_ways(tmp_path: Path, line: str, held_bytes: int) -> None:
    plant(tmp_path, {"proc/7/fdinfo/3": f"drm-pdev:\t{ADDRESS}\ndrm-client-id:\t1\n{line}\n"})
    assert memory_of_process(7, CARD, "vram", tmp_path) == held_bytes


def test_a_process_that_is_gone_has_nothing_and_one_that_hides_it_is_unknown(tmp_path: Path) -> None:
    assert memory_of_process(7, CARD, "vram", tmp_path) == 0
    plant(tmp_path, {"proc/8/fdinfo": "stands for a folder that may not be listed"})
    assert memory_of_process(8, CARD, "vram", tmp_path) is None


def test_a_real_process_can_be_read() -> None:
    assert memory_of_process(os.getpid(), CARD, "vram", Path("/")) == 0
