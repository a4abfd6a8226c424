"""Keeps the newest sample of all devices: probes run in one worker thread, the event loop only ever reads the result.

It joins the probes' devices into the node's numbering (the CPU is the last). A probe that hangs makes the sample old,
never a call slow: ``age_s`` tells. However many ask, one sample is being taken and at most one waits to be.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from cortex.contract.node import Device
from cortex.kit.clock import Clock
from cortex.neuron.discovery.host import Host, read_host
from cortex.neuron.discovery.interface import Probe, Reading, Scan

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
DEADLINE_S = 30.0


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What the node is made of; it does not change while the neuron runs."""

    host: Host
    devices: tuple[Device, ...]
    driver_version: str | None = None
    cuda_version: str | None = None
    cuda_driver_version: str | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All devices at one moment, in the order of the inventory."""

    taken_s: float
    readings: tuple[Reading, ...] = ()


class Sampler:
    """Discovers once, then samples every few seconds and on request. ``pids`` names the engines' processes."""

    def __init__(self, probes: Sequence[Probe], root: Path, clock: Clock, pids: Callable[[], frozenset[int]]) -> None:
        self._probes = tuple(probes)
        self._root = root
        self._clock = clock
        self._pids = pids
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sampler")
        self._device_counts: tuple[int, ...] = ()
        self._queued: Future[Snapshot] | None = None
        self._queued_pids: set[int] = set()
        self._taken: set[asyncio.Future[Snapshot]] = set()
        self.latest = Snapshot(taken_s=clock.now_s())

    def age_s(self) -> float:
        """Return how old the newest sample is."""
        return self._clock.now_s() - self.latest.taken_s

    async def discover(self) -> Inventory:
        """Ask every probe what there is."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._discover)

    async def refresh(self) -> Snapshot:
        """Take a sample that begins after this call, and return it; the newest older one when a probe hangs."""
        taking = self._join_queue()
        done, _ = await asyncio.wait((taking,), timeout=DEADLINE_S)
        if not done:
            log.warning("a device probe hangs: the sample is %.0f s old", self.age_s())
        return self.latest

    async def run(self, after_sample: Callable[[], None], interval_s: float = INTERVAL_S) -> None:
        """Sample for ever, and call ``after_sample`` each time."""
        while True:
            await self.refresh()
            after_sample()
            await asyncio.sleep(interval_s)

    def close(self) -> None:
        """Let the worker thread end; a hanging probe is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for taking in tuple(self._taken):
            taking.cancel()

    def _join_queue(self) -> asyncio.Future[Snapshot]:
        """Return the sample that has not begun yet, which does for everyone who asks until then."""
        pids = self._pids()
        self._queued_pids |= pids  # before it is looked whether that was in time
        if self._queued is None or self._queued.running() or self._queued.done():
            self._queued_pids = set(pids)
            self._queued = self._thread.submit(self._read, self._queued_pids)
        taking = asyncio.wrap_future(self._queued)
        self._taken.add(taking)
        taking.add_done_callback(self._note)
        return taking

    def _note(self, taking: asyncio.Future[Snapshot]) -> None:
        """Keep a sample that has come, also one that nobody waits for any more."""
        self._taken.discard(taking)
        if not taking.cancelled() and taking.result().taken_s >= self.latest.taken_s:
            self.latest = taking.result()

    def _discover(self) -> Inventory:
        scans = [_scan(probe) for probe in self._probes]
        self._device_counts = tuple(len(scan.devices) for scan in scans)
        host = read_host(self._root)
        cuda_driver = _first(scan.cuda_driver_version for scan in scans)
        return Inventory(
            host=host,
            devices=_numbered(scans),
            driver_version=_first(scan.driver_version for scan in scans),
            cuda_version=host.cuda_toolkit_version or _first(scan.cuda_version for scan in scans) or cuda_driver,
            cuda_driver_version=cuda_driver,
        )

    def _read(self, asked_pids: Set[int]) -> Snapshot:
        taken_s, pids = self._clock.now_s(), frozenset(asked_pids)
        readings: list[Reading] = []
        for probe, count in zip(self._probes, self._device_counts, strict=True):
            found = _readings(probe, pids)
            readings += found if len(found) == count else (Reading(),) * count
        return Snapshot(taken_s=taken_s, readings=tuple(readings))


def _scan(probe: Probe) -> Scan:
    try:
        return probe.scan()
    except Exception:  # a defect of one probe must not hide what the others find
        log.exception("%s failed", type(probe).__name__)
        return Scan()


def _readings(probe: Probe, pids: frozenset[int]) -> tuple[Reading, ...]:
    try:
        return probe.read(pids)
    except Exception:
        log.exception("%s failed", type(probe).__name__)
        return ()


def _numbered(scans: Sequence[Scan]) -> tuple[Device, ...]:
    found = [device for scan in scans for device in scan.devices]
    return tuple(
        Device(
            index=index,
            name=device.name,
            vram_total_mb=device.vram_total_mb,
            compute_capability=device.compute_capability,
            kind=device.kind,
            uuid=device.uuid,
            numa=device.numa,
        )
        for index, device in enumerate(found)
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)
