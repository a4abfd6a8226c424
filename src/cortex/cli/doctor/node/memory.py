"""Judges what engines need besides GPUs: RAM, room of the control group, places for models. Pure."""

from pathlib import Path

from cortex.cli.doctor.file import GIB, IN_MEMORY, MIB, is_networked, size
from cortex.cli.doctor.finding import Finding, ok, skipped, warn
from cortex.cli.doctor.host import Disk

FETCHED_BYTES = 20 * GIB
"""Room for one more model of a middle size, as it is fetched."""
STATE_BYTES = 256 * MIB
"""Logs and records of engines."""


def judge_ram(total_bytes: int | None, largest: tuple[Path, int] | None) -> Finding:
    """Whether the RAM holds the largest model file on its way to a GPU."""
    if total_bytes is None:
        return skipped("/proc/meminfo cannot be read")
    if largest is None or largest[1] <= total_bytes:
        return ok(f"{size(total_bytes)} of RAM")
    said = f"{size(total_bytes)} of RAM, and {largest[0].name} has {size(largest[1])}"
    return warn(said, "it loads slowly, read anew from disk at each load", "nothing, if that is meant; else more RAM")


def judge_group(limit_bytes: int | None, total_bytes: int | None, largest: tuple[Path, int] | None) -> Finding:
    """Whether the control group of the neuron, in which its engines run, has room for them."""
    if limit_bytes is None or (total_bytes is not None and limit_bytes >= total_bytes):
        return ok("no limit on memory")
    said = f"at most {size(limit_bytes)} of memory for the neuron and its engines"
    if largest is None or largest[1] <= limit_bytes:
        return ok(said)
    means = f"engines with {largest[0].name} ({size(largest[1])}) on the CPU are killed, and load slowly onto GPUs"
    return warn(said, means, "systemctl edit cortex-neuron: [Service] MemoryMax=infinity")


def judge_state_place(disk: Disk, path: Path) -> Finding:
    """Whether what must be remembered over a restart is on a disk of this host."""
    said = f"{path} is on {disk.kind or 'an unknown file system'}"
    if disk.kind in IN_MEMORY:
        means = "pins, logs and the count of generations are gone after a restart of this host"
        return warn(said, means, "set state_dir to a directory on a disk, like /var/lib/cortex-neuron", "state_dir")
    if is_networked(disk.kind):
        means = "the lock that keeps a second neuron away may not hold there, and everything waits for the network"
        return warn(said, means, "set state_dir to a disk of this host", "state_dir")
    return ok(said, "state_dir")


def judge_cache(disk: Disk, path: Path, *, is_writable: bool) -> Finding:
    """Whether models can be fetched: into Hugging Face's cache."""
    key = "HF_HUB_CACHE"
    if not is_writable:
        means = "models named hf:… cannot be fetched"
        return warn(
            f"{disk.path} is not writable", means, f"set HF_HOME for the neuron; {path} is where they go now", key
        )
    said = f"{size(disk.free_bytes)} free at {path}"
    if disk.free_bytes < FETCHED_BYTES:
        return warn(
            said, "there is no room for one more model of a middle size", "hf cache delete, or another HF_HOME", key
        )
    return ok(said, key)


def judge_range(key: str, first: int, last: int, free: int, held: tuple[str, ...]) -> Finding:
    """Whether engines find a port in their range. ``held``: who has some of them, that is no engine of the neuron."""
    count = last - first + 1
    said = f"{free} of the {count} ports from {first} to {last} are free"
    others = f"; {', '.join(held)}" if held else ""
    if not free and count == len(held):
        return warn(f"{said}{others}", "no engine can be started", "set port_range to ports that nobody else has", key)
    if held:
        return warn(f"{said}{others}", "others have ports of the engines", "set another port_range, or stop them", key)
    return ok(said, key)


def judge_advertised(host: str | None, addresses: tuple[str, ...], why_not: str, *, is_here: bool) -> Finding:
    """Whether other hosts reach engines by the host that they are told."""
    key = "advertise_host"
    if host is None:
        return ok("callers are told the address on which they reached this neuron", key)
    if why_not:
        means = "callers on other hosts are told of engines that they cannot find"
        return warn(f"{host}: {why_not}", means, "correct advertise_host, or the DNS", key)
    said = f"{host} is {', '.join(addresses)}"
    if not is_here:
        means = "fine behind a translating router; else engines are looked for on another host"
        return warn(f"{said}, which is no address of this host", means, "ip addr; correct advertise_host", key)
    return ok(said, key)
