"""Intel's GPUs by sysfs, those with memory of their own; their names by a program, where it is."""

import json
from pathlib import Path

import pytest
from tests.unit.neuron.discovery.sysfs_tree import MIB, plant_card, plant_client
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.intel import IntelProbe
from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan

NOBODY: frozenset[int] = frozenset()
FLEX, ARC = "0000:4d:00.0", "0000:03:00.0"


def probe_of(root: Path) -> IntelProbe:
    return IntelProbe(root, str(root / "xpu-smi"))


def plant_i915(root: Path) -> None:
    plant_card(root, 1, "0x8086", FLEX, {"numa_node": 1, "hwmon/hwmon1/temp1_input": 50000}, device_id="0x56c0")
    plant(
        root,
        {
            "sys/class/drm/card1/lmem_total_bytes": f"{14336 * MIB}\n",
            "sys/class/drm/card1/lmem_avail_bytes": f"{14000 * MIB}\n",
        },
    )


def plant_xe(root: Path) -> None:
    tiles = {f"tile{n}/physical_vram_size_bytes": 8192 * MIB for n in range(2)}
    files = {"hwmon/hwmon1/temp1_input": 1, "hwmon/hwmon1/temp2_input": 43000, **tiles}
    plant_card(root, 0, "0x8086", ARC, files, device_id="0xe20b")


def says(root: Path, text: str, code: int = 0) -> None:
    plant(root, {"said": text + "\n", "xpu-smi": f'#!/bin/sh\nread -r l < {root}/said; echo "$l"; exit {code}\n'})
    (root / "xpu-smi").chmod(0o755)


def test_cards_of_both_drivers_are_found_by_address(tmp_path: Path) -> None:
    plant_i915(tmp_path)
    plant_xe(tmp_path)
    assert probe_of(tmp_path).scan().devices == (
        FoundDevice(name="Intel GPU 0xe20b", kind="xpu", vram_total_mb=16384, uuid=ARC),
        FoundDevice(name="Intel GPU 0x56c0", kind="xpu", vram_total_mb=14336, uuid=FLEX, numa=1),
    )


def test_a_reading_has_what_each_driver_tells(tmp_path: Path) -> None:
    plant_i915(tmp_path)
    plant_xe(tmp_path)
    probe = probe_of(tmp_path)
    probe.scan()
    assert probe.read(NOBODY) == (
        Reading(temp_c=43.0, processes={}),
        Reading(vram_used_mb=336, vram_free_mb=14000, temp_c=50.0, processes={}),
    )


def test_a_gpu_within_a_cpu_is_none(tmp_path: Path) -> None:
    plant_card(tmp_path, 0, "0x8086", "0000:00:02.0", {})
    probe = probe_of(tmp_path)
    assert (probe.scan(), probe.read(NOBODY)) == (Scan(), ())


def test_a_card_that_is_gone_is_in_trouble(tmp_path: Path) -> None:
    plant_i915(tmp_path)
    probe = probe_of(tmp_path)
    probe.scan()
    (tmp_path / "sys/class/drm/card1/lmem_total_bytes").unlink()
    assert probe.read(NOBODY)[0].trouble == "the kernel does not show it any more"


def test_names_and_uuids_are_the_programs_where_it_is_installed(tmp_path: Path) -> None:
    plant_i915(tmp_path)
    plant_xe(tmp_path)
    flex = {"device_name": "Intel(R) Data Center GPU Flex 170", "pci_bdf_address": FLEX, "uuid": "0000-56c0"}
    says(tmp_path, json.dumps({"device_list": [{**flex, "device_id": 0}]}))
    assert [(device.name, device.uuid) for device in probe_of(tmp_path).scan().devices] == [
        ("Intel GPU 0xe20b", ARC),
        ("Intel(R) Data Center GPU Flex 170", "0000-56c0"),
    ]


@pytest.mark.parametrize(
    ("text", "code"), [("no JSON", 0), ("{}", 0), ('{"device_list": [{}]}', 0), ("[]", 0), ("failed", 1)]
)
def test_a_program_that_fails_or_says_something_else_costs_only_the_names(tmp_path: Path, text: str, code: int) -> None:
    plant_i915(tmp_path)
    says(tmp_path, text, code)
    assert [device.name for device in probe_of(tmp_path).scan().devices] == ["Intel GPU 0x56c0"]


def test_what_engines_use_is_told_by_their_descriptors(tmp_path: Path) -> None:
    plant_i915(tmp_path)
    plant_client(tmp_path, 7, 3, FLEX, 1, local0="100 MiB", system0="7 MiB")
    plant_client(tmp_path, 71, 3, FLEX, 2, vram0="1 KiB")
    plant(tmp_path, {"proc/7/task/7/children": "71 "})
    probe = probe_of(tmp_path)
    probe.scan()
    assert probe.read(frozenset({7, 8}))[0].processes == {7: ProcessUse(101, 101)}
    plant(tmp_path, {"proc/8/fdinfo": "stands for a folder that may not be listed"})
    assert probe.read(frozenset({7, 8}))[0].processes is None
