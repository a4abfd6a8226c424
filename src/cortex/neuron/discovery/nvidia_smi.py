"""NVIDIA GPUs by way of ``nvidia-smi``: needs no library, works with every driver that brings the program.

Output is CSV and parsed by the names in its header, since fields come and go with drivers (captures of drivers 535 to
610, 2026): only fields that this driver's ``--help-query-gpu`` lists are asked for, because one unknown field fails the
whole query. Failure texts go to standard output, so nothing is parsed unless the exit code is 0.
"""

import logging
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.process.program import DEADLINE_S, Program

log = logging.getLogger(__name__)

SCAN_FIELDS = ("uuid", "name", "driver_version", "compute_cap", "memory.total", "mig.mode.current")
READ_FIELDS = ("uuid", "memory.total", "memory.used", "memory.free", "utilization.gpu", "temperature.gpu", "power.draw")
_ABSENT = frozenset({"", "N/A", "[N/A]", "[Not Supported]", "[Insufficient Permissions]"})
_BROKEN = re.compile(r"\[.+\]")
"""Absent ones apart, what stands for a value that could not be read: ``[Unknown Error]``, ``[GPU is lost]``."""
_HOST_PIDS = "pid:[4026531836]"
"""Where processes have the host's numbers. Source: PROC_PID_INIT_INO in Linux' proc_ns.h, fixed since 3.8."""
_UNIFIED = re.compile(r"\b(GB10|N1X|Thor|Orin|Xavier)\b")
"""Parts whose GPU shares the host's RAM and may report no memory of their own (GB10, driver 580: ``[N/A]``)."""

MEANINGS = {
    2: "the driver does not know a field",
    6: "no device is visible (hidden by a device policy, or all lost)",
    9: "the driver is not loaded",
    15: "a GPU has fallen off the bus",
    17: "access is blocked by the operating system",
    18: "driver and library differ: reboot after the driver's update",
}
"""What exit codes mean. Source: nvidia-smi(1) and public captures."""

Row = Mapping[str, str]


class NvidiaSmiProbe:
    """All GPUs that ``nvidia-smi`` lists, in its (PCI) order."""

    def __init__(self, root: Path, command: str = "nvidia-smi", *, deadline_s: float = DEADLINE_S) -> None:
        self._root = root
        self._command = command
        self._program = Program(command, deadline_s=deadline_s)
        self._known: frozenset[str] | None = None
        self._uuids: tuple[str, ...] = ()
        self._unified: frozenset[str] = frozenset()
        self._troubles: dict[str, str] = {}

    def scan(self) -> Scan:
        if shutil.which(self._command) is None:
            return Scan()
        found = []
        rows = self._query_gpus(SCAN_FIELDS)
        for row in rows:
            device = self._device(row)
            if device is None and row.get("mig.mode.current") == "Enabled":
                log.warning("GPU %s is in MIG mode and cannot be used as a whole: it is left out", row.get("name", "?"))
            elif device is None:
                log.warning("GPU %s does not tell its memory and is left out", row.get("name", "?"))
            else:
                found.append(device)
        self._uuids = tuple(device.uuid or "" for device in found)
        driver = next((version for row in rows if (version := _text(row.get("driver_version")))), None)
        return Scan(
            devices=tuple(found), driver_version=driver, cuda_driver_version=self._cuda_version() if found else None
        )

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        if not self._uuids:
            return ()
        rows = {row.get("uuid", ""): row for row in self._query_gpus(READ_FIELDS)}
        processes = self._processes(pids)
        return tuple(
            self._reading(rows.get(uuid, {}), None if processes is None else processes.get(uuid, {}), uuid)
            for uuid in self._uuids
        )

    def _device(self, row: Row) -> FoundDevice | None:
        total = _number(row.get("memory.total"))
        name = _text(row.get("name")) or "NVIDIA GPU"
        if row.get("mig.mode.current") == "Enabled":
            return None
        uuid = _text(row.get("uuid"))
        if total is None and _UNIFIED.search(name):
            total = self._ram_mb("MemTotal")
            self._unified |= {uuid or ""}
        if total is None:
            return None
        return FoundDevice(
            name=name,
            kind="cuda",
            vram_total_mb=int(total),
            compute_capability=_text(row.get("compute_cap")),
            uuid=uuid,
        )

    def _reading(self, row: Row, processes: Mapping[int, ProcessUse] | None, uuid: str) -> Reading:
        total, free = _number(row.get("memory.total")), _number(row.get("memory.free"))
        if uuid in self._unified and total is None:
            total, free = self._ram_mb("MemTotal"), self._ram_mb("MemAvailable")
        # The driver's own part is neither used nor free to it (used + free + reserved = total); to us it is used.
        used = total - free if total is not None and free is not None else _number(row.get("memory.used"))
        return Reading(
            vram_used_mb=None if used is None else int(used),
            vram_free_mb=None if free is None else int(free),
            utilization_pct=_number(row.get("utilization.gpu")),
            temp_c=_number(row.get("temperature.gpu")),
            power_w=_number(row.get("power.draw")),
            processes=processes,
        )

    def _processes(self, pids: frozenset[int]) -> dict[str, dict[int, ProcessUse] | None] | None:
        """Return by GPU what our processes use; None, for one GPU or for all, when the driver does not tell."""
        if not pids:
            return {}
        rows = self._table("--query-compute-apps=gpu_uuid,pid,used_gpu_memory")
        if rows is None:
            return None
        found: dict[str, dict[int, ProcessUse] | None] = {}
        for row in rows:
            uuid, pid, used = row.get("gpu_uuid", ""), _number(row.get("pid")), _number(row.get("used_gpu_memory"))
            if pid is None or int(pid) not in pids:
                continue
            uses = found.setdefault(uuid, {})
            if used is None:
                found[uuid] = None
            elif uses is not None:
                before = uses.get(int(pid), ProcessUse(0, 0))  # one process may have several lines
                uses[int(pid)] = ProcessUse(before.held_mb + int(used), before.counted_mb + int(used))
        # In a container the list is empty, or holds the host's numbers: that ours are not on it says nothing.
        return found if found or self._has_host_pids() else None

    def _query_gpus(self, fields: tuple[str, ...]) -> list[Row]:
        if self._known is None:
            text = self._run("--help-query-gpu")
            if text is None:
                return []
            # A group of spellings of one field is a line like: "clocks.current.sm" or "clocks.sm"
            self._known = frozenset(re.findall(r'"([a-z0-9_.]+)"', text)) or frozenset(fields)
        wanted = [field for field in fields if field in self._known]
        return self._table("--query-gpu=" + ",".join(wanted)) or []

    def _table(self, query: str) -> list[Row] | None:
        text = self._run(query, "--format=csv,nounits")
        if text is None:
            return None
        lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
        header = [cell.split(" [")[0] for cell in lines[0]] if lines else []
        rows: list[Row] = [dict(zip(header, line, strict=False)) for line in lines[1:]]
        for field, cell in (item for row in rows for item in row.items()):
            if _BROKEN.fullmatch(cell) and cell not in _ABSENT:
                self._note(field, f"{self._command} says {cell} instead of {field}")
        return rows

    def _cuda_version(self) -> str | None:
        """Return the newest CUDA that the driver supports, which only the plain table names."""
        found = re.search(r"CUDA[A-Z ]*Version\s*:\s*(\d+\.\d+)", self._run() or "")
        return found[1] if found else None

    def _run(self, *args: str) -> str | None:
        """Run the program; None when it fails, with the reason logged when it is a new one."""
        subject = args[0].partition("=")[0] if args else ""
        try:
            code, out, err = self._program.run(*args)
        except OSError as error:
            self._note(subject, f"{self._command} cannot be run: {error}")
            return None
        if code:
            said = (out.strip() or err.strip()).splitlines()
            meaning = MEANINGS.get(code, "it failed")
            self._note(subject, f"{self._command} ended with code {code}: {meaning}: {' '.join(said[:2])}")
            return None
        self._troubles.pop(subject, None)
        return out

    def _note(self, subject: str, words: str) -> None:
        """Log a trouble, unless it is the last one that this subject had."""
        if words != self._troubles.get(subject):
            log.warning("%s", words)
        self._troubles[subject] = words

    def _has_host_pids(self) -> bool:
        try:
            return os.readlink(self._root / "proc/self/ns/pid") == _HOST_PIDS
        except OSError:
            return True

    def _ram_mb(self, field: str) -> float | None:
        try:
            text = (self._root / "proc/meminfo").read_text()
        except OSError:
            return None
        found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        return float(int(found[1]) // 1024) if found else None


def _text(cell: str | None) -> str | None:
    return None if cell is None or cell in _ABSENT else cell


def _number(cell: str | None) -> float | None:
    """Return a cell's number; None for what the driver does not tell, whatever it says instead."""
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
