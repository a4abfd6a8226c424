"""A program in the place of ``nvidia-smi`` that answers each of its four calls with a text kept beside it."""

from collections.abc import Sequence
from pathlib import Path

_SCRIPT = """#!/bin/sh
case "$1" in
  --help-query-gpu) call=help ;;
  --query-gpu=*) call=gpu ;;
  --query-compute-apps=*) call=apps ;;
  *) call=table ;;
esac
echo "$*" >> "$0.calls"
[ -e "$0.$call.code" ] && read -r code < "$0.$call.code"
[ -e "$0.$call" ] && while IFS= read -r line; do printf '%s\\n' "$line"; done < "$0.$call"
exit "${code:-0}"
"""
# No program but the shell itself runs: the script takes a few milliseconds.

FIELDS = (
    "index", "uuid", "name", "pci.bus_id", "driver_version", "compute_cap", "memory.total", "memory.reserved",
    "memory.used", "memory.free", "utilization.gpu", "temperature.gpu", "power.draw", "power.limit",
    "mig.mode.current", "ecc.mode.current",
)  # fmt: skip
UNITS = {"memory.total": " [MiB]", "memory.used": " [MiB]", "memory.free": " [MiB]", "power.draw": " [W]"}

RTX_4080 = (
    "0, GPU-4080, NVIDIA GeForce RTX 4080 SUPER, 00000000:01:00.0, 595.71.05, 8.9, 16376, 434, 596, 15348, 0, 43, "
    "26.20, 320.00, [N/A], [N/A]"
)
H200 = (
    "1, GPU-h200, NVIDIA H200, 00000000:83:00.0, 590.48.01, 9.0, 143771, 614, 0, 143158, 0, 28, 77.71, 700.00, "
    "Disabled, Enabled"
)
H200_MIG = (
    "0, GPU-h200, NVIDIA H200, 00000000:83:00.0, 590.48.01, 9.0, 143771, 614, 55, 143103, [N/A], 28, 78.28, 700.00, "
    "Enabled, Enabled"
)
L40S = (
    "0, GPU-l40s, NVIDIA L40S, 00000000:01:00.0, 595.80, 8.9, 46068, 609, 0, 45460, 100, 63, 144.97, 350.00, [N/A], "
    "Enabled"
)
GB10 = (
    "0, GPU-gb10, NVIDIA GB10, 0000000F:01:00.0, 580.173.02, 12.1, [N/A], [N/A], [N/A], [N/A], 0, 35, 11.17, [N/A], "
    "[N/A], [N/A]"
)
"""Lines of real machines (drivers 580 to 595, 2026), with made-up UUIDs."""


class Replay:
    """The program, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "nvidia-smi"
        self.path.write_text(_SCRIPT)
        self.path.chmod(0o755)
        self.knows(FIELDS)
        self.says("table", "| NVIDIA-SMI 595.71.05    Driver Version: 595.71.05    CUDA Version: 13.1     |\n")
        self.runs()

    def says(self, call: str, text: str, code: int = 0) -> None:
        """Answer a call (``help gpu apps table``) with this from now on."""
        Path(f"{self.path}.{call}").write_bytes(text.encode("utf-8", "surrogateescape"))
        Path(f"{self.path}.{call}.code").write_text(f"{code}\n")

    def knows(self, fields: Sequence[str]) -> None:
        """List these fields, with a group of spellings as real drivers have them."""
        words = "".join(f'"{field}"\nSaid of {field}.\n\n' for field in fields)
        self.says("help", f'List of valid properties to query:\n\n"clocks.current.sm" or "clocks.sm"\nMHz.\n\n{words}')

    def has(self, *lines: str) -> None:
        """Answer with these GPUs."""
        header = ", ".join(name + UNITS.get(name, "") for name in FIELDS)
        self.says("gpu", "\n".join((header, *lines, "")))

    def runs(self, *lines: str) -> None:
        """Answer with these processes."""
        self.says("apps", "\n".join(("gpu_uuid, pid, used_gpu_memory [MiB]", *lines, "")))

    def calls(self) -> list[str]:
        """Return the arguments of every call so far."""
        return Path(f"{self.path}.calls").read_text().splitlines()
