"""Judges GPUs: the driver, its device files, whether all that is plugged in is seen, and how they are. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cortex.cli.doctor.file import lacking
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.host import FileState, Identity, group_name, may, user_name

RESET, RESTART = frozenset({48, 62, 64, 74, 79, 95, 119, 120}), frozenset({94})
IGNORED = frozenset({13, 31, 43, 63, 92})
"""Xids after which a GPU or the host has to be reset, after which a program has to be restarted, and those that a
program causes itself. Source: NVIDIA, "Xid Errors", and public alert rules, 2026-11."""
MISMATCH = 18
SMI_CODES = {
    6: "no device is visible",
    9: "the driver is not loaded",
    15: "a GPU has fallen off the bus",
    17: "access is blocked by the operating system",
    MISMATCH: "driver and library are of different versions",
}
"""Exit codes of nvidia-smi. Source: nvidia-smi(1) and public captures, 2026-11."""
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
NEEDED = ("nvidiactl", "nvidia-uvm")
LOG = "journalctl -k -b | grep -i -e nvrm -e xid"


class Smi(NamedTuple):
    """What ``nvidia-smi`` says: its exit code and, of each GPU, UUID and persistence mode."""

    code: int
    gpus: tuple[tuple[str, str], ...] = ()


class GpuLook(NamedTuple):
    """What was seen. ``on_bus``: addresses of GPUs by vendor; ``module``: version of the loaded kernel module.

    ``devices``: kind and name of each that is offered; ``files``: device files that are there, by name below ``/dev``.
    ``smi`` None: not installed. ``troubles``: what the neuron's own probes say.
    """

    on_bus: Mapping[str, tuple[str, ...]]
    module: str = ""
    driver: str | None = None
    devices: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, FileState] = {}
    smi: Smi | None = None
    troubles: tuple[str, ...] = ()

    @property
    def nvidia(self) -> int:
        """How many GPUs of NVIDIA are plugged in."""
        return len(self.on_bus.get("NVIDIA", ()))


class DeviceState(NamedTuple):
    """How one device is."""

    number: int
    name: str
    trouble: str | None = None
    recovery_action: str | None = None
    uncorrected: int = 0


def judge_driver(look: GpuLook) -> Finding:
    """Whether there is a driver, loaded, and of one version with its library."""
    if not look.nvidia:
        others = ", ".join(f"{len(found)} of {vendor}" for vendor, found in look.on_bus.items())
        return ok(f"no GPU of NVIDIA is on the PCI bus{f'; {others}' if others else ''}")
    if not look.module and look.driver is None:
        do = "lsmod | grep nvidia; modprobe nvidia; mokutil --sb-state; on Fedora: dnf install akmod-nvidia, and reboot"
        means = "no GPU of NVIDIA can be used: the module is not built for this kernel, or Secure Boot refuses it"
        return fail(f"{look.nvidia} GPUs are on the PCI bus, and no driver is loaded", means, do)
    if is_mismatch(look):
        means = "the driver was updated, and the old one is still loaded: new engines fail to start"
        return fail(f"kernel module {look.module or '?'}, and a library of another version", means, "reboot")
    return ok(f"driver {look.driver or look.module}")


def is_mismatch(look: GpuLook) -> bool:
    """Tell whether kernel module and library differ."""
    said = any("version mismatch" in trouble.lower() for trouble in look.troubles)
    differ = bool(look.module and look.driver and look.module != look.driver)
    return said or differ or (look.smi is not None and look.smi.code == MISMATCH)


def judge_agreement(look: GpuLook) -> Finding:
    """Whether nvidia-smi sees what the neuron sees."""
    if not look.nvidia:
        return ok("no GPU of NVIDIA is on the PCI bus")
    if look.smi is None:
        return skipped("nvidia-smi is not installed")
    if look.smi.code:
        said = f"nvidia-smi ends with {look.smi.code}: {SMI_CODES.get(look.smi.code, 'an unknown error')}"
        return fail(said, "engines fail as it does", f"nvidia-smi; {LOG}")
    mine = sum(kind == "cuda" for kind, _ in look.devices)
    if any(kind == "mig" for kind, _ in look.devices):
        return ok(f"nvidia-smi shows {len(look.smi.gpus)} GPUs, some of them divided (MIG)")
    if mine != len(look.smi.gpus):
        said = f"nvidia-smi shows {len(look.smi.gpus)} GPUs, the neuron {mine}"
        return warn(said, "engines may use devices that nobody counts", "cortex-neuron check; nvidia-smi -L")
    return ok(f"nvidia-smi shows {mine} GPUs, as the neuron does")


def judge_count(look: GpuLook) -> Finding:
    """Whether every GPU of NVIDIA that is plugged in is offered."""
    offered = sum(kind == "cuda" for kind, _ in look.devices)
    if look.nvidia and not any(kind == "mig" for kind, _ in look.devices) and offered < look.nvidia:
        means = "one is lost, or hidden: fallen off the bus, held by another driver, or closed off by a device policy"
        do = f"{LOG}; systemctl cat cortex-neuron | grep Device"
        return fail(f"{look.nvidia} GPUs of NVIDIA are on the PCI bus, {offered} are offered", means, do)
    names = ", ".join(name for _, name in look.devices)
    return ok(f"{len(look.devices)} devices: {names}" if names else "no device is offered")


def judge_files(look: GpuLook) -> Finding:
    """Whether the device files are there that engines open."""
    if look.nvidia and look.module:
        missing = [name for name in NEEDED if name not in look.files]
        if not any(re.fullmatch(r"nvidia\d+", name) for name in look.files):
            missing.append("nvidia0")
        if missing:
            means = "the driver is loaded, but its files are not made: a hardened unit cannot make them itself"
            do = "nvidia-modprobe -u -c0, at every boot: systemctl enable --now nvidia-persistenced"
            return fail(f"{', '.join(f'/dev/{name}' for name in missing)}: not there", means, do)
    if look.on_bus.get("AMD") and "kfd" not in look.files:
        return warn(
            "/dev/kfd is not there", "ROCm cannot compute on the GPUs of AMD", "modprobe amdgpu; dmesg | grep kfd"
        )
    return ok(", ".join(f"/dev/{name}" for name in sorted(look.files)) or "no device files, and none are needed")


def judge_rights(look: GpuLook, identity: Identity) -> Iterator[Finding]:
    """Whether whoever runs the neuron may open them."""
    closed = {name: state for name, state in look.files.items() if not may(identity, state, 6)}
    for name, state in sorted(closed.items()):
        said = f"/dev/{name} is {state.mode:04o} {user_name(state.uid)}:{group_name(state.gid)}"
        do = f"usermod -aG {group_name(state.gid)} {identity.name}; systemctl restart cortex-neuron"
        yield lacking(said, identity, "cannot open it, nor can its engines", do)
    if not closed:
        yield ok(f"{identity.name} may open all {len(look.files)}" if look.files else "there are none")


def judge_persistence(look: GpuLook) -> Finding:
    """Whether the driver stays awake while no program uses a GPU."""
    modes = [mode for _, mode in look.smi.gpus] if look.smi is not None else []
    if "Disabled" not in modes:
        return ok("on" if "Enabled" in modes else "not told, or not needed")
    means = "while no neuron runs the driver goes to sleep: then the first call takes seconds, and counters begin anew"
    return warn("persistence mode is off", means, "systemctl enable --now nvidia-persistenced")


def judge_health(states: Sequence[DeviceState]) -> Iterator[Finding]:
    """How the devices are by what their driver says now."""
    well = True
    for one in states:
        about = f"device {one.number}"
        if one.recovery_action not in (None, "none"):
            well = False
            do = {"gpu_reset": "nvidia-smi --gpu-reset, with nothing on it"}.get(one.recovery_action or "", "reboot")
            yield fail(f"the driver asks for: {one.recovery_action}", f"{one.name} cannot be relied on", do, about)
        if one.uncorrected:
            well = False
            means = "memory was lost: what was computed then may be wrong"
            yield fail(f"{one.uncorrected} uncorrected ECC errors", means, "nvidia-smi -q -d ECC,ROW_REMAPPER", about)
        if one.trouble:
            well = False
            yield warn(one.trouble, "nothing newer is known of it", LOG, about)
    if well:
        yield ok(f"{len(states)} devices, none in trouble")


def judge_xids(lines: Sequence[str]) -> Iterator[Finding]:
    """What critical errors the kernel's log of this boot has: lines like ``NVRM: Xid (PCI:0000:83:00): 79, …``."""
    seen: dict[tuple[str, int], int] = {}
    for line in lines:
        found = re.search(r"NVRM: Xid \(([^)]+)\): (\d+)", line)
        if found is not None:
            key = (found[1], int(found[2]))
            seen[key] = seen.get(key, 0) + 1
    told = {key: count for key, count in seen.items() if key[1] not in IGNORED}
    for (place, number), count in sorted(told.items()):
        said = f"Xid {number} at {place}, {count} times since boot"
        if number in RESET:
            yield fail(said, "the GPU, or the host, has to be reset", f"nvidia-smi --gpu-reset, or reboot; {LOG}")
        elif number in RESTART:
            yield warn(said, "the program that was hit has to be restarted", "cortex unload MODEL, and load it again")
        else:
            yield warn(said, "the driver has met an error", LOG)
    if not told:
        yield ok("none since boot" if not seen else f"{sum(seen.values())} since boot, all caused by programs")


def judge_peers(gpus: int, *, has_iommu: bool, cmdline: str) -> Finding:
    """Whether something slows down what GPUs tell each other directly."""
    if gpus < 2:
        return ok("one GPU at the most: nothing to tell another")
    if has_iommu and "iommu=pt" not in cmdline and "iommu=off" not in cmdline:
        return ok("an IOMMU translates between GPUs: if models on several are slow or hang, boot with iommu=pt")
    return ok("no IOMMU stands between the GPUs")
