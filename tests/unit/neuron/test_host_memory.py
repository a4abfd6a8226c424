"""GPUs that share the host's RAM, and whose processes a driver tells of."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.host_memory import has_host_pids, is_unified, ram_mb


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("NVIDIA GB10", "12.1", True),
        ("NVIDIA N1X", None, True),
        ("Orin (nvgpu)", "8.7", True),
        ("NVIDIA Thor", "11.0", True),
        ("NVIDIA Graphics Device", "12.1", True),
        ("NVIDIA GH200 480GB", "9.0", False),
        ("NVIDIA GB200", "10.0", False),
        ("NVIDIA GeForce RTX 5090", "12.0", False),
        ("NVIDIA L40S", None, False),
    ],
)
def test_parts_that_share_the_hosts_ram_are_known_by_name_or_kind(
    name: str, capability: str | None, expected: bool
) -> None:
    assert is_unified(name, capability) is expected


def test_the_hosts_ram_is_all_and_what_is_available(tmp_path: Path) -> None:
    assert ram_mb(tmp_path) == (None, None)
    plant(tmp_path, {"proc/meminfo": "MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable:  1024 kB\n"})
    assert ram_mb(tmp_path) == (2, 1)


@pytest.mark.parametrize(("link", "expected"), [("pid:[4026531836]", True), ("pid:[4026532999]", False), (None, True)])
def test_a_container_is_known_by_its_namespace(tmp_path: Path, link: str | None, expected: bool) -> None:
    if link is not None:
        (tmp_path / "proc/self/ns").mkdir(parents=True)
        (tmp_path / "proc/self/ns/pid").symlink_to(link)
    assert has_host_pids(tmp_path) is expected
