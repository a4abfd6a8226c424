"""The CPU as a device, with the host's RAM as its memory: what runs where there is no GPU.

Used memory is what is not available (MemTotal - MemAvailable), so page cache counts as free. A control group's limit
is respected where this process lives in one. Reads files below a root that tests can set.
"""

import re
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan

_KIB_PER_MB = 1024
_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""hwmon drivers whose first input is the CPU's temperature."""


class CpuProbe:
    """One device: all cores and all RAM of the host."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._busy_and_all: tuple[int, int] | None = None

    def scan(self) -> Scan:
        return Scan(devices=(FoundDevice(name=self._name(), kind="cpu", vram_total_mb=self._memory()[0]),))

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        total_mb, free_mb = self._memory()
        return (
            Reading(
                vram_used_mb=total_mb - free_mb,
                vram_free_mb=free_mb,
                utilization_pct=self._utilization(),
                temp_c=self._temperature(),
                processes={pid: use for pid in pids if (use := self._process(pid))},
            ),
        )

    def _memory(self) -> tuple[int, int]:
        """Return total and available MiB, the smaller of the host's and the control group's."""
        fields = _kib_fields(self._root / "proc/meminfo")
        total = fields.get("MemTotal", 0) // _KIB_PER_MB
        free = fields.get("MemAvailable", 0) // _KIB_PER_MB
        limit, used = self._control_group()
        if limit is not None and limit < total:
            return limit, min(free, max(0, limit - used))
        return total, free

    def _control_group(self) -> tuple[int | None, int]:
        """Return limit and unreclaimable use in MiB of the control group at the root (version 2), if it has a limit."""
        folder = self._root / "sys/fs/cgroup"
        try:
            limit = int((folder / "memory.max").read_text()) >> 20
            used = int((folder / "memory.current").read_text())
            cache = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
        except (OSError, ValueError):  # no such group, or "max": no limit
            return None, 0
        return limit, (used - (int(cache[1]) if cache else 0)) >> 20

    def _process(self, pid: int) -> ProcessUse | None:
        fields = _kib_fields(self._root / f"proc/{pid}/status")
        if "VmRSS" not in fields:
            return None
        private = fields.get("RssAnon", fields["VmRSS"]) + fields.get("RssShmem", 0)
        return ProcessUse(_mb(fields["VmRSS"]), _mb(private))

    def _utilization(self) -> float | None:
        """Return the share of busy time since the last reading, in percent; None at the first."""
        try:
            ticks = [int(word) for word in (self._root / "proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        now = (sum(ticks) - sum(ticks[3:5]), sum(ticks))  # all but idle and iowait; proc(5)
        before, self._busy_and_all = self._busy_and_all, now
        if before is None or now[1] <= before[1]:
            return None
        return round(100 * (now[0] - before[0]) / (now[1] - before[1]), 1)

    def _temperature(self) -> float | None:
        for folder in sorted((self._root / "sys/class/hwmon").glob("hwmon*")):
            try:
                if (folder / "name").read_text().strip() in _SENSORS:
                    return int((folder / "temp1_input").read_text()) / 1000
            except (OSError, ValueError):
                continue
        return None

    def _name(self) -> str:
        try:
            text = (self._root / "proc/cpuinfo").read_text()
        except OSError:
            return "CPU"
        found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
        return " ".join(found[1].split()) if found else "CPU"


def _kib_fields(file: Path) -> dict[str, int]:
    """Return the ``Name:  123 kB`` lines of a proc file as KiB by name; nothing when it cannot be read."""
    try:
        text = file.read_text()
    except OSError:
        return {}
    return {name: int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _mb(kib: int) -> int:
    return -(-kib // _KIB_PER_MB)
