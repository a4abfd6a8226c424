"""What the node is made of, and the numbers of its devices, which keep their meaning as long as the neuron runs.

1. A device keeps its index: another one never gets it, and one that comes back has it again, also after a restart when
   an engine that goes on was on it.
2. GPUs are numbered in the order of their probes, the CPU is the last. A GPU that appears later takes the CPU's number,
   and has to wait for it while something is on the CPU.
3. A device that two scans in a row do not show is gone.
4. The CPU is a device where there is no GPU, and none that is out of order; or where it is configured to be one.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from cortex.contract.node import Device
from cortex.neuron.discovery.host import Host
from cortex.neuron.discovery.interface import FoundDevice, Scan

log = logging.getLogger(__name__)

MISSES = 2
"""Scans in a row that must not show a device before it is gone: one may have failed."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What the node is made of at one moment."""

    host: Host
    devices: tuple[Device, ...] = ()
    keys: Mapping[int, str] = {}
    """What each index stands for, as ``keys_of`` says it."""
    missing: frozenset[int] = frozenset()
    """Those that the newest scan does not show, and that may be gone."""
    ordinals: Mapping[int, int] = {}
    """The place of each device among those of its kind, as drivers count."""
    driver_version: str | None = None
    cuda_version: str | None = None
    cuda_driver_version: str | None = None
    troubles: tuple[str, ...] = ()
    """Why there may be more."""
    is_driver_mismatched: bool = False
    """See ``Scan``; of any driver."""


class Numbering:
    """Gives devices their indices. ``cpu_device`` None: the CPU is one where there is no GPU."""

    def __init__(self, cpu_device: bool | None) -> None:
        self._cpu_device = cpu_device
        self._indices: dict[str, int] = {}
        self._there: dict[str, FoundDevice] = {}
        self._misses: Counter[str] = Counter()
        self._waiting: set[str] = set()
        self._ordinals: dict[str, int] = {}

    def keep(self, numbers: Mapping[str, int]) -> None:
        """Give these indices to nothing but these UUIDs; of two that had one, the first keeps it."""
        for uuid, index in numbers.items():
            if index not in self._indices.values():
                self._indices[uuid] = index

    def take(self, host: Host, scans: Sequence[Scan], is_used: Callable[[int], bool] = lambda _: False) -> Inventory:
        """Return what there is after these scans, one of every probe. ``is_used``: something is on that device."""
        shown = {
            key: device
            for n, scan in enumerate(scans)
            for key, device in zip(keys_of(n, scan), scan.devices, strict=True)
        }
        self._let_go_missing(shown)
        self._ordinals |= _ordinals(shown)
        for key, device in shown.items():
            if device.kind != "cpu":
                self._take_gpu(key, device, is_used)
        troubles = tuple(scan.trouble for scan in scans if scan.trouble)
        self._take_cpu({key: device for key, device in shown.items() if device.kind == "cpu"}, troubles, is_used)
        by_index = sorted((self._indices[key], key) for key in self._there)
        cuda_driver = _first([scan.cuda_driver_version for scan in scans])
        return Inventory(
            host=host,
            devices=tuple(_numbered(index, self._there[key]) for index, key in by_index),
            keys=dict(by_index),
            missing=frozenset(index for index, key in by_index if key not in shown),
            ordinals={index: self._ordinals[key] for index, key in by_index},
            driver_version=_first([scan.driver_version for scan in scans]),
            cuda_version=_first([host.cuda_toolkit_version, *(scan.cuda_version for scan in scans), cuda_driver]),
            cuda_driver_version=cuda_driver,
            troubles=troubles,
            is_driver_mismatched=any(scan.is_driver_mismatched for scan in scans),
        )

    def _let_go_missing(self, shown: Mapping[str, FoundDevice]) -> None:
        for key in tuple(self._there):
            if key in shown:
                self._misses.pop(key, None)
                continue
            self._misses[key] += 1
            if self._misses[key] >= MISSES:
                log.warning("device %d (%s) is gone", self._indices[key], self._there[key].name)
                del self._there[key], self._misses[key]

    def _take_gpu(self, key: str, device: FoundDevice, is_used: Callable[[int], bool]) -> None:
        cpu = self._cpu()
        if key not in self._indices:
            index = self._next_index(cpu)
            if cpu is not None and self._indices[cpu] == index:
                if is_used(index):
                    self._wait(key, device, index)
                    return
                del self._there[cpu], self._indices[cpu]  # it is numbered anew behind the GPUs
            self._indices[key] = index
        self._waiting.discard(key)
        self._there[key] = device

    def _wait(self, key: str, device: FoundDevice, index: int) -> None:
        if key not in self._waiting:
            log.warning("%s has appeared; it is offered when nothing is on the CPU (device %d)", device.name, index)
        self._waiting.add(key)

    def _take_cpu(
        self, shown: Mapping[str, FoundDevice], troubles: Sequence[str], is_used: Callable[[int], bool]
    ) -> None:
        """List the CPU, or not."""
        cpu = self._cpu()
        if cpu is not None and is_used(self._indices[cpu]):
            self._there |= {key: device for key, device in shown.items() if key == cpu}
            return
        gpus = [device for device in self._there.values() if device.kind != "cpu"]
        is_offered = bool(self._cpu_device) if gpus or (troubles and cpu is None) else self._cpu_device is not False
        if cpu is not None and not is_offered:
            del self._there[cpu], self._indices[cpu]
        for key, device in shown.items() if is_offered else ():
            if key not in self._indices:
                self._indices[key] = self._next_index(None)
            self._there[key] = device

    def _cpu(self) -> str | None:
        return next((key for key, device in self._there.items() if device.kind == "cpu"), None)

    def _next_index(self, but: str | None) -> int:
        return 1 + max((index for key, index in self._indices.items() if key != but), default=-1)


def keys_of(probe: int, scan: Scan) -> tuple[str, ...]:
    """Return what tells each device of a scan from all others: its UUID, else the probe's number, its kind, name and
    place among those with the same."""
    seen: Counter[str] = Counter()
    keys = []
    for device in scan.devices:
        key = device.uuid or f"{probe} {device.kind} {device.name}"
        keys.append(key if not seen[key] else f"{key} #{seen[key]}")
        seen[key] += 1
    return tuple(keys)


def _ordinals(shown: Mapping[str, FoundDevice]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    ordinals = {}
    for key, device in shown.items():
        ordinals[key] = counts[device.kind]
        counts[device.kind] += 1
    return ordinals


def _numbered(index: int, device: FoundDevice) -> Device:
    return Device(
        index=index,
        name=device.name,
        vram_total_mb=device.vram_total_mb,
        compute_capability=device.compute_capability,
        kind=device.kind,
        uuid=device.uuid,
        numa=device.numa,
        unified=device.unified,
    )


def _first(values: Sequence[str | None]) -> str | None:
    return next((value for value in values if value), None)
