"""The contract of a discovery probe, and the values it gives.

A probe blocks (it reads files, runs programs) and is only called from the sampler's worker thread, one call at a time.
It never raises: what cannot be told is None, and why is logged once.
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


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: devices in a stable order, and the versions that this probe knows of."""

    devices: tuple[FoundDevice, ...] = ()
    driver_version: str | None = None
    cuda_driver_version: str | None = None
    cuda_version: str | None = None


class ProcessUse(msgspec.Struct, frozen=True):
    """What one process uses of one device. ``held_mb`` is its whole use; ``counted_mb`` the part of it that the
    device's ``vram_used_mb`` contains (file pages of a mapped model are RAM in use, yet count as available)."""

    held_mb: int
    counted_mb: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One device now. ``processes`` holds those of the asked pids that the probe can tell; None: it cannot at all."""

    vram_used_mb: int | None = None
    vram_free_mb: int | None = None
    utilization_pct: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    processes: Mapping[int, ProcessUse] | None = None


class Probe(Protocol):
    """One source of devices."""

    def scan(self) -> Scan:
        """Return what there is."""
        ...

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        """Return one reading per device of the last scan, in its order, with the use of these processes."""
        ...
