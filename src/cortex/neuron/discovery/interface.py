"""The contract of a discovery probe, and the values it gives.

A probe blocks (it reads files, runs programs, asks drivers) and is only called from a thread of its own, one call at a
time. It never raises: what cannot be told is None, and why is logged once; ``trouble`` says in words that something
which should work does not, so that the neuron soon scans again.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from cortex.contract.node import DeviceKind


class FoundDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device as a probe found it; its position in the probe's answer is its place among the probe's devices."""

    name: str
    kind: DeviceKind
    vram_total_mb: int
    compute_capability: str | None = None
    uuid: str | None = None
    numa: int | None = None
    unified: bool = False
    """Its memory is the host's RAM."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: devices in a stable order, and the versions that this probe knows of."""

    devices: tuple[FoundDevice, ...] = ()
    driver_version: str | None = None
    cuda_driver_version: str | None = None
    cuda_version: str | None = None
    trouble: str | None = None
    """Why there may be more than was found; None: this is all."""
    is_driver_mismatched: bool = False
    """The driver in the kernel and its library are of different versions: after an update, until a reboot."""


class ProcessUse(msgspec.Struct, frozen=True):
    """What one process uses of one device. ``held_mb`` is its whole use; ``counted_mb`` the part of it that the
    device's ``vram_used_mb`` contains (file pages of a mapped model are RAM in use, yet count as available)."""

    held_mb: int
    counted_mb: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One device now. ``processes`` holds those of the asked pids that the probe can tell; None: it cannot at all.

    Of an engine of several processes it holds their sum, under the number of the one that leads them.
    """

    vram_used_mb: int | None = None
    vram_free_mb: int | None = None
    utilization_pct: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    processes: Mapping[int, ProcessUse] | None = None
    ecc_errors: Mapping[str, int] = {}
    """Since the driver was loaded, by type: ``corrected``, ``uncorrected``."""
    xids: Mapping[int, int] = {}
    """NVIDIA's critical errors, by their number, as often as the probe saw them since it began."""
    recovery_action: str | None = None
    """What the driver asks for: ``none``, ``gpu_reset``, ``node_reboot``, …"""
    trouble: str | None = None


class Probe(Protocol):
    """One source of devices."""

    def scan(self) -> Scan:
        """Return what there is."""
        ...

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        """Return one reading per device of the last scan, in its order, with the use of these processes."""
        ...
