"""Which core does what, and what this machine is.

The gateway has a core for itself. With three cores upstream and load client have one each; with two they share one.
"""

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

CPUS = Path("/sys/devices/system/cpu")


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
        "TCP": _congestion_control(),
        "revision": _revision(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _congestion_control() -> str:
    try:
        return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        return "unknown congestion control"


def _revision() -> str:
    try:
        argv = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Strangers:
    """How much CPU time others took while the benchmark ran: with much of it no figure here is worth a word."""

    def __init__(self) -> None:
        self._began_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def share(self) -> float:
        """Return their part of all cores' time since the start; exact once all processes of ours have ended."""
        passed_s = (time.monotonic() - self._began_s) * (os.cpu_count() or 1)
        return max(0.0, _busy_s() - self._busy_s - (_own_s() - self._own_s)) / passed_s


def _own_s() -> float:
    return sum(os.times()[:4])


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
