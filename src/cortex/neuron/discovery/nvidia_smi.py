"""NVIDIA GPUs by way of ``nvidia-smi``: needs no library, works with every driver that brings the program.

Output is CSV and parsed by the names in its header, since fields come and go with drivers (captures of drivers 535 to
610, 2026): only fields that this driver's ``--help-query-gpu`` lists are asked for, because one unknown field fails the
whole query. Failure texts go to standard output, so nothing is parsed unless the exit code is 0.
"""

import logging
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.host_memory import has_host_pids, is_unified, ram_mb
from cortex.neuron.process.family import owner_of
from cortex.neuron.process.program import DEADLINE_S, Program

log = logging.getLogger(__name__)

SCAN_FIELDS = ("uuid", "name", "driver_version", "compute_cap", "memory.total", "mig.mode.current")
READ_FIELDS = (
    "uuid",
    "memory.total",
    "memory.used",
    "memory.free",
    "utilization.gpu",
    "temperature.gpu",
    "power.draw",
    "power.limit",
)
_ABSENT = frozenset({"", "N/A", "[N/A]", "[Not Supported]", "[Insufficient Permissions]"})
_BROKEN = re.compile(r"\[.+\]")
"""Absent ones apart, what stands for a value that could not be read: ``[Unknown Error]``, ``[GPU is lost]``."""

MISMATCH = 18
MEANINGS = {
    2: "the driver does not know a field",
    6: "no device is visible (hidden by a device policy, or all lost)",
    9: "the driver is not loaded",
    15: "a GPU has fallen off the bus",
    17: "access is blocked by the operating system",
    MISMATCH: "driver and library differ: reboot after the driver's update",
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
        self._trouble: str | None = None
        self._troubles: dict[str, str] = {}
        self._is_mismatched = False

    def scan(self) -> Scan:
        self._uuids = ()
        if shutil.which(self._command) is None:
            return Scan()
        found = []
        self._trouble = None
        self._is_mismatched = False
        rows = self._query_gpus(SCAN_FIELDS)
        for row in rows:
            device = self._device(row)
            name, is_mig = row.get("name", "?"), row.get("mig.mode.current") == "Enabled"
            if device is None and is_mig:
                self._note(f"GPU {name}", f"GPU {name} is in MIG mode, whose parts only NVML tells: it is left out")
            elif device is None:
                self._note(f"GPU {name}", f"GPU {name} does not tell its memory and is left out")
            else:
                found.append(device)
        self._uuids = tuple(device.uuid or "" for device in found)
        driver = next((version for row in rows if (version := _text(row.get("driver_version")))), None)
        return Scan(
            devices=tuple(found),
            driver_version=driver,
            cuda_driver_version=self._cuda_version() if found else None,
            trouble=None if rows else self._trouble,
            is_driver_mismatched=self._is_mismatched,
        )

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        if not self._uuids:
            return ()
        self._trouble = None
        rows = {row.get("uuid", ""): row for row in self._query_gpus(READ_FIELDS)}
        processes = self._processes(pids)
        return tuple(
            self._reading(rows.get(uuid, {}), None if processes is None else processes.get(uuid, {}), uuid)
            for uuid in self._uuids
        )

    def _device(self, row: Row) -> FoundDevice | None:
        total = _number(row.get("memory.total"))
        name, capability = _text(row.get("name")) or "NVIDIA GPU", _text(row.get("compute_cap"))
        if row.get("mig.mode.current") == "Enabled":
            return None
        uuid = _text(row.get("uuid"))
        unified = is_unified(name, capability)
        if unified:
            total, _ = ram_mb(self._root)
            self._unified |= {uuid or ""}
        if total is None or total <= 0:
            return None
        return FoundDevice(
            name=name,
            kind="cuda",
            vram_total_mb=int(total),
            compute_capability=capability,
            uuid=uuid,
            unified=unified,
        )

    def _reading(self, row: Row, processes: Mapping[int, ProcessUse] | None, uuid: str) -> Reading:
        total, free = _number(row.get("memory.total")), _number(row.get("memory.free"))
        if uuid in self._unified:
            total, free = ram_mb(self._root)
        # The driver's own part is neither used nor free to it (used + free + reserved = total); to us it is used.
        used = total - free if total is not None and free is not None else _number(row.get("memory.used"))
        return Reading(
            vram_used_mb=None if used is None else int(used),
            vram_free_mb=None if free is None else int(free),
            utilization_pct=_number(row.get("utilization.gpu")),
            temp_c=_number(row.get("temperature.gpu")),
            power_w=_number(row.get("power.draw")),
            power_limit_w=_number(row.get("power.limit")),
            processes=processes,
            trouble=None if row else self._trouble or f"{self._command} does not list it any more",
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
            owner = None if pid is None else owner_of(int(pid), pids, self._root)
            if owner is None:
                continue
            uses = found.setdefault(uuid, {})
            if used is None:
                found[uuid] = None
            elif uses is not None:
                before = uses.get(owner, ProcessUse(0, 0))  # one process may have several lines, an engine several
                uses[owner] = ProcessUse(before.held_mb + int(used), before.counted_mb + int(used))
        # In a container the list is empty, or holds the host's numbers: that ours are not on it says nothing.
        return found if found or has_host_pids(self._root) else None

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
            self._is_mismatched = code == MISMATCH
            meaning = MEANINGS.get(code, "it failed")
            self._note(subject, f"{self._command} ended with code {code}: {meaning}: {' '.join(said[:2])}")
            return None
        self._troubles.pop(subject, None)
        return out

    def _note(self, subject: str, words: str) -> None:
        """Log a trouble, unless it is the last one that this subject had."""
        self._trouble = words
        if words != self._troubles.get(subject):
            log.warning("%s", words)
        self._troubles[subject] = words


def _text(cell: str | None) -> str | None:
    return None if cell is None or cell in _ABSENT else cell


def _number(cell: str | None) -> float | None:
    """Return a cell's number; None for what the driver does not tell, whatever it says instead."""
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
