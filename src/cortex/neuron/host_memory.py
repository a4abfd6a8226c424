"""The RAM that some GPUs have in place of memory of their own, and whether processes have the numbers drivers tell.

Shared by the probes of NVIDIA's GPUs. Reads files below a root that tests can set.
"""

import os
import re
from pathlib import Path

from cortex.neuron.host_file import KIB_PER_MB, read_kib_fields

_UNIFIED_NAME = re.compile(r"\b(GB10|N1X|Thor|Orin|Xavier|Tegra)\b")
_UNIFIED_CAPABILITY = "12.1"
"""Parts whose GPU shares the host's RAM. Their drivers tell no memory (GB10, driver 580), or a figure that is not all
of it (N1X: 8 GB). A card of its own whose memory cannot be read is not one of these."""
_HOST_PIDS = "pid:[4026531836]"
"""Where processes have the host's numbers. Source: PROC_PID_INIT_INO in Linux' proc_ns.h, fixed since 3.8."""


def is_unified(gpu_name: str, compute_capability: str | None = None) -> bool:
    """Tell whether such a GPU shares the host's RAM."""
    return _UNIFIED_NAME.search(gpu_name) is not None or compute_capability == _UNIFIED_CAPABILITY


def ram_mb(root: Path) -> tuple[int | None, int | None]:
    """Return the host's RAM in MiB, all of it and what is available; None for what cannot be read."""
    fields = read_kib_fields(root / "proc/meminfo")
    total, free = fields.get("MemTotal"), fields.get("MemAvailable")
    return None if total is None else total // KIB_PER_MB, None if free is None else free // KIB_PER_MB


def has_host_pids(root: Path) -> bool:
    """Tell whether this process sees the numbers of processes that the driver tells; where unknown, it does."""
    try:
        return os.readlink(root / "proc/self/ns/pid") == _HOST_PIDS
    except OSError:
        return True
