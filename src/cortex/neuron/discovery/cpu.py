"""The CPU as a device, with the host's RAM as its memory: what runs where there is no GPU.

Used memory is what is not available (MemTotal - MemAvailable), so page cache counts as free. The limits of the control
groups that this process lives in are respected, since engines are its children. Reads files below a root that tests can
set.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.host_file import KIB_PER_MB, read_kib_fields, read_number, read_text
from cortex.neuron.process.family import family_of

log = logging.getLogger(__name__)

_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""hwmon drivers whose first input is the CPU's temperature."""

_GROUP_FILES = {2: ("memory.max", "memory.current"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes")}
_GROUP_CACHE = re.compile(r"^(?:total_)?(inactive_file|active_file|slab_reclaimable) (\d+)$", re.MULTILINE)
"""What a group could give back at once, as MemAvailable counts it for the host. Version 1 has sums over children."""


class CpuProbe:
    """One device: all cores and all RAM of the host."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._busy_and_all: tuple[int, int] | None = None

    def scan(self) -> Scan:
        memory = self._memory()
        if memory is None:
            log.warning("%s does not tell the memory: the CPU is left out", self._root / "proc/meminfo")
            return Scan()
        return Scan(devices=(FoundDevice(name=self._name(), kind="cpu", vram_total_mb=memory[0]),))

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        total_mb, free_mb = self._memory() or (0, None)
        return (
            Reading(
                vram_used_mb=None if free_mb is None else total_mb - free_mb,
                vram_free_mb=free_mb,
                utilization_pct=self._utilization(),
                temp_c=self._temperature(),
                processes={pid: use for pid in pids if (use := self._process(pid))},
            ),
        )

    def _memory(self) -> tuple[int, int] | None:
        """Return total and available MiB, the smallest of the host's and the control groups'."""
        fields = read_kib_fields(self._root / "proc/meminfo")
        if not fields.get("MemTotal") or "MemAvailable" not in fields:
            return None
        total, free = fields["MemTotal"] // KIB_PER_MB, fields["MemAvailable"] // KIB_PER_MB
        for limit, used in self._group_limits():
            total, free = min(total, limit), min(free, max(0, limit - used))
        return total, free

    def _group_limits(self) -> Iterator[tuple[int, int]]:
        """Yield limit and unreclaimable use in MiB of every control group around this process that has a limit.

        A group is bound by those above it as well. In a container the path may name folders that are not there: its
        own group is then the root of what is mounted. Source: cgroups(7), proc_pid_cgroup(5).
        """
        for number, controllers, path in re.findall(
            r"^(\d+):([^:\n]*):/(.*)$", read_text(self._root / "proc/self/cgroup"), re.MULTILINE
        ):
            if number != "0" and "memory" not in controllers.split(","):
                continue
            version, mount = (2, "sys/fs/cgroup") if number == "0" else (1, "sys/fs/cgroup/memory")
            base = self._root / mount
            for folder in (base / path, *(base / path).parents):
                limit, used = (read_number(folder / name) for name in _GROUP_FILES[version])
                if limit is not None:
                    cache = {key: int(value) for key, value in _GROUP_CACHE.findall(read_text(folder / "memory.stat"))}
                    yield limit >> 20, max(0, (used or 0) - sum(cache.values())) >> 20
                if folder == base:
                    break

    def _process(self, pid: int) -> ProcessUse | None:
        """Return what a process and its descendants use; None when it is gone, or hides it."""
        told = [read_kib_fields(self._root / f"proc/{member}/status") for member in family_of(pid, self._root)]
        if "VmRSS" not in told[0]:
            return None
        held = sum(fields.get("VmRSS", 0) for fields in told)
        private = sum(fields.get("RssAnon", fields.get("VmRSS", 0)) + fields.get("RssShmem", 0) for fields in told)
        return ProcessUse(_mb(held), _mb(private))

    def _utilization(self) -> float | None:
        """Return the share of busy time since the last reading, in percent; None at the first."""
        ticks = [int(word) for word in re.findall(r"\d+", read_text(self._root / "proc/stat").partition("\n")[0])[:8]]
        now = (sum(ticks) - sum(ticks[3:5]), sum(ticks))  # all but idle and iowait; proc(5)
        before, self._busy_and_all = self._busy_and_all, now
        if before is None or now[1] <= before[1]:
            return None
        # The kernel's iowait may go back, and busy time then seems to be more than all.
        return round(100 * min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1]))), 1)

    def _temperature(self) -> float | None:
        for folder in sorted((self._root / "sys/class/hwmon").glob("hwmon*")):
            if read_text(folder / "name").strip() in _SENSORS:
                milli = read_number(folder / "temp1_input")
                if milli is not None:
                    return milli / 1000
        return None

    def _name(self) -> str:
        text = read_text(self._root / "proc/cpuinfo")
        found = re.search(r"^(?:model name|Model|Hardware)[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE)
        return " ".join(found[1].split()) if found else "CPU"


def _mb(kib: int) -> int:
    return -(-kib // KIB_PER_MB)
