"""NVIDIA GPUs by way of ``nvidia-smi``: needs no library, works with every driver that brings the program.

Output is CSV and parsed by the names in its header, since fields come and go with drivers (captures of drivers 535 to
610, 2026): only fields that this driver's ``--help-query-gpu`` lists are asked for, because one unknown field fails the
whole query. Failure texts go to standard output, so nothing is parsed unless the exit code is 0.
"""

import csv
import logging
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan

log = logging.getLogger(__name__)

DEADLINE_S = 10.0
"""A driver that hangs makes the program hang; it is killed then."""

SCAN_FIELDS = ("uuid", "name", "driver_version", "compute_cap", "memory.total")
READ_FIELDS = ("uuid", "memory.total", "memory.used", "memory.free", "utilization.gpu", "temperature.gpu", "power.draw")
_ABSENT = frozenset({"", "N/A", "[N/A]", "[Not Supported]", "[Insufficient Permissions]"})
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

    def __init__(self, root: Path, command: str = "nvidia-smi") -> None:
        self._root = root
        self._command = command
        self._known: frozenset[str] | None = None
        self._uuids: tuple[str, ...] = ()
        self._unified: frozenset[str] = frozenset()
        self._last_trouble = ""

    def scan(self) -> Scan:
        if shutil.which(self._command) is None:
            return Scan()
        found = []
        rows = self._query_gpus(SCAN_FIELDS)
        for row in rows:
            device = self._device(row)
            if device is None:
                log.warning("GPU %s does not tell its memory and is left out", row.get("name", "?"))
            else:
                found.append(device)
        self._uuids = tuple(device.uuid or "" for device in found)
        driver = next((row["driver_version"] for row in rows if row.get("driver_version")), None)
        return Scan(
            devices=tuple(found), driver_version=driver, cuda_driver_version=self._cuda_version() if found else None
        )

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        if not self._uuids:
            return ()
        rows = {row.get("uuid", ""): row for row in self._query_gpus(READ_FIELDS)}
        processes = self._processes(pids)
        return tuple(
            self._reading(rows.get(uuid, {}), processes.get(uuid, {}) if processes is not None else None, uuid)
            for uuid in self._uuids
        )

    def _device(self, row: Row) -> FoundDevice | None:
        total = _number(row.get("memory.total"))
        name = row.get("name", "NVIDIA GPU")
        uuid = row.get("uuid") or None
        if total is None:
            if not _UNIFIED.search(name):
                return None
            total = self._ram_mb("MemTotal")
            self._unified |= {uuid or ""}
        return FoundDevice(
            name=name,
            kind="cuda",
            vram_total_mb=int(total),
            compute_capability=_text(row.get("compute_cap")),
            uuid=uuid,
        )

    def _reading(self, row: Row, processes: Mapping[int, ProcessUse] | None, uuid: str) -> Reading:
        total, free = _number(row.get("memory.total")), _number(row.get("memory.free"))
        # The driver's own part is neither used nor free to it (used + free + reserved = total); to us it is used.
        used = total - free if total is not None and free is not None else _number(row.get("memory.used"))
        if uuid in self._unified and used is None:
            free = float(self._ram_mb("MemAvailable"))
            used = self._ram_mb("MemTotal") - free
        return Reading(
            vram_used_mb=None if used is None else int(used),
            vram_free_mb=None if free is None else int(free),
            utilization_pct=_number(row.get("utilization.gpu")),
            temp_c=_number(row.get("temperature.gpu")),
            power_w=_number(row.get("power.draw")),
            processes=processes,
        )

    def _processes(self, pids: frozenset[int]) -> dict[str, dict[int, ProcessUse]] | None:
        """Return by GPU what our processes use; None when the driver does not tell."""
        rows = self._table("--query-compute-apps=gpu_uuid,pid,used_gpu_memory")
        if rows is None:
            return None
        found: dict[str, dict[int, ProcessUse]] = {}
        for row in rows:
            pid, used = _number(row.get("pid")), _number(row.get("used_gpu_memory"))
            if pid is not None and used is not None and int(pid) in pids:
                found.setdefault(row.get("gpu_uuid", ""), {})[int(pid)] = ProcessUse(int(used), int(used))
        return found

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
        lines = csv.reader(text.splitlines(), skipinitialspace=True)
        header = [cell.split(" [")[0].strip() for cell in next(lines, [])]
        return [dict(zip(header, (cell.strip() for cell in line), strict=False)) for line in lines if line]

    def _cuda_version(self) -> str | None:
        """Return the newest CUDA that the driver supports, which only the plain table names."""
        found = re.search(r"CUDA[A-Z ]*Version\s*:\s*(\d+\.\d+)", self._run() or "")
        return found[1] if found else None

    def _run(self, *args: str) -> str | None:
        """Run the program; None when it fails, with the reason logged when it is a new one."""
        try:
            done = subprocess.run(
                [self._command, *args], capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._trouble(f"{self._command} cannot be run: {error}")
            return None
        if done.returncode:
            said = (done.stdout.strip() or done.stderr.strip()).splitlines()
            meaning = MEANINGS.get(done.returncode, "it failed")
            self._trouble(f"{self._command} ended with code {done.returncode}: {meaning}: {' '.join(said[:2])}")
            return None
        self._last_trouble = ""
        return done.stdout

    def _trouble(self, words: str) -> None:
        if words != self._last_trouble:
            log.warning("%s", words)
        self._last_trouble = words

    def _ram_mb(self, field: str) -> int:
        text = (self._root / "proc/meminfo").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(found[1]) // 1024 if found else 0


def _text(cell: str | None) -> str | None:
    return None if cell is None or cell in _ABSENT else cell


def _number(cell: str | None) -> float | None:
    """Return a cell's number; None for what the driver does not tell, whatever it says instead."""
    try:
        return float(cell or "")
    except ValueError:
        return None
