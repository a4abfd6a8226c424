"""Which core does what, and what this machine is.

The gateway has a core for itself. With three cores upstream and load client have one each; with two they share one.
"""

import os
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple

CPUS = Path("/sys/devices/system/cpu")
RECOMMENDED_FILES = 20_000


class Cores(NamedTuple):
    """CPU numbers. The driver and the neuron run where the load client does: they idle while it works."""

    gateway: int
    upstream: int
    client: int

    def told(self) -> str:
        if self.upstream == self.client:
            return f"gateway on core {self.gateway}, upstream and load client share core {self.client}"
        return f"gateway on core {self.gateway}, upstream on {self.upstream}, load client on {self.client}"


def choose_cores() -> Cores:
    """Return cores that this process may use, no two of them threads of one, as far as there are enough."""
    allowed = sorted(os.sched_getaffinity(0))
    apart = [cpu for cpu in allowed if cpu == min(_siblings(cpu) & set(allowed), default=cpu)]
    cpus = apart if len(apart) >= 2 else allowed
    if len(cpus) < 2:
        raise SystemExit("bench: needs two cores, one for the gateway and one for the load")
    return Cores(cpus[0], cpus[1], cpus[2] if len(cpus) > 2 else cpus[1])


def _siblings(cpu: int) -> set[int]:
    try:
        text = (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return {cpu}
    siblings: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        siblings |= set(range(int(first), int(last or first) + 1))
    return siblings


def machine() -> dict[str, str]:
    """Return what a reader has to know about this machine to judge a figure."""
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "revision": _revision(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    try:
        argv = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def busy_s() -> float:
    """Return the CPU seconds that this whole machine has spent since it was started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
