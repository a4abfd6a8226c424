"""A Jetson's GPU, as its kernel shows it: for systems whose driver has no NVML. Its memory is the host's RAM.

Source: the device tree and the sysfs of L4T 32 to 36, by public captures; not tried on a machine of ours.
"""

import re
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.host_file import read_line, read_number, read_text
from cortex.neuron.host_memory import ram_mb

CAPABILITIES = {"Thor": "11.0", "Orin": "8.7", "Xavier": "7.2", "TX2": "6.2", "TX1": "5.3", "Nano": "5.3"}
"""By what the model's name has; an Orin Nano is an Orin."""
LOADS = ("sys/devices/platform/gpu.0/load", "sys/devices/gpu.0/load", "sys/devices/platform/bus@0/*.gpu/load")
SENSORS = ("gpu-thermal", "gpu-therm")


class TegraProbe:
    """The one GPU of a Jetson."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_there = False

    def scan(self) -> Scan:
        self._is_there = False
        name = read_text(self._root / "proc/device-tree/model").strip("\0 \n")
        total_mb, _ = ram_mb(self._root)
        if not re.search(r"Jetson|Tegra", name) or total_mb is None:
            return Scan()
        self._is_there = True
        capability = next((version for part, version in CAPABILITIES.items() if part in name), None)
        device = FoundDevice(
            name=name, kind="cuda", vram_total_mb=total_mb, compute_capability=capability, unified=True
        )
        return Scan(devices=(device,), driver_version=self._release())

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        if not self._is_there:
            return ()
        total_mb, free_mb = ram_mb(self._root)
        loads = (read_number(file) for pattern in LOADS for file in self._root.glob(pattern))
        permille = next((load for load in loads if load is not None), None)
        return (
            Reading(
                vram_used_mb=None if total_mb is None or free_mb is None else total_mb - free_mb,
                vram_free_mb=free_mb,
                utilization_pct=None if permille is None else permille / 10,
                temp_c=self._temperature(),
            ),
        )

    def _temperature(self) -> float | None:
        for zone in sorted((self._root / "sys/class/thermal").glob("thermal_zone*")):
            if read_line(zone / "type").lower() in SENSORS:
                milli = read_number(zone / "temp")
                return None if milli is None else milli / 1000
        return None

    def _release(self) -> str | None:
        """Return the version of L4T: ``# R36 (release), REVISION: 4.0`` is 36.4.0."""
        found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read_text(self._root / "etc/nv_tegra_release"))
        return f"{found[1]}.{found[2]}" if found else None
