"""Keeps the newest sample of all devices: probes run in threads of their own, the event loop only reads the result.

It joins what the probes say under the node's numbering (``inventory.py``). A probe that hangs makes its own devices'
readings old, never a call slow and no other device's reading old: ages and ``trouble`` tell.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from cortex.kit.clock import Clock
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.discovery.interface import Probe, Reading, Scan
from cortex.neuron.inventory import Inventory, Numbering, keys_of
from cortex.neuron.probe_lane import ProbeLane

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
STALE_S = 3 * INTERVAL_S
"""An older sample is not what is now."""
DEADLINE_S = 10.0
"""For a reading; 8 GPUs by nvidia-smi, with nothing that keeps the driver awake, take a few seconds."""
SCAN_DEADLINE_S = 30.0
"""For a scan, which may start a driver."""
SILENCE = "its driver does not answer"
MISSING = "it is not shown any more"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All devices at one moment: a reading's place is its device's index. ``taken_s`` is that of the oldest part."""

    taken_s: float
    readings: tuple[Reading, ...] = ()
    taken_by_device_s: Mapping[int, float] = {}


class Sampler:
    """Discovers and samples when told to. ``pids`` names the engines' processes; ``cpu_device`` is the setting."""

    def __init__(
        self,
        probes: Sequence[Probe],
        host: HostReader,
        clock: Clock,
        pids: Callable[[], frozenset[int]],
        *,
        cpu_device: bool | None = None,
    ) -> None:
        self._lanes = tuple(ProbeLane(probe, clock, self._assemble) for probe in probes)
        self._host = host
        self._clock = clock
        self._pids = pids
        self._numbering = Numbering(cpu_device)
        self.inventory: Inventory | None = None
        self.latest = Snapshot(taken_s=clock.now_s())

    def age_s(self) -> float:
        """Return how old the newest sample is."""
        return self._clock.now_s() - self.latest.taken_s

    @property
    def is_stale(self) -> bool:
        """Whether the newest sample is too old to say what is now."""
        return self.age_s() > STALE_S

    def keep_numbers(self, numbers: Mapping[str, int]) -> None:
        """Keep the indices that devices had before, by UUID: engines that go on are on them."""
        self._numbering.keep(numbers)

    async def discover(self, is_used: Callable[[int], bool] = lambda _: False) -> Inventory:
        """Ask every probe what there is; one that hangs says what it said before, and is in trouble."""
        asked = {lane: lane.ask_scan() for lane in self._lanes}
        host, _ = await asyncio.gather(asyncio.to_thread(self._host.read), self._wait(asked, SCAN_DEADLINE_S, "a scan"))
        self.inventory = self._numbering.take(host, [_scan(lane) for lane in self._lanes], is_used)
        self._assemble()
        return self.inventory

    async def refresh(self) -> Snapshot:
        """Take a sample that begins after this call, and return it; where a probe hangs, with its older part."""
        pids = self._pids()
        await self._wait({lane: lane.ask_reading(pids) for lane in self._lanes}, DEADLINE_S, "a reading")
        return self.latest

    async def run(self, after_sample: Callable[[], None], interval_s: float = INTERVAL_S) -> None:
        """Sample for ever, and call ``after_sample`` each time."""
        while True:
            await self.refresh()
            after_sample()
            await asyncio.sleep(interval_s)

    def is_at_work(self) -> bool:
        """Tell whether a probe has been asked something that it has not answered yet."""
        return any(lane.is_asked for lane in self._lanes)

    def close(self) -> None:
        """Let the threads end; a hanging probe is not waited for."""
        for lane in self._lanes:
            lane.close()

    async def _wait(self, asked: Mapping[ProbeLane, "asyncio.Future[object]"], limit_s: float, what: str) -> None:
        """Wait for answers, but for none of a probe that was waited for in vain before."""
        hopeful = [future for lane, future in asked.items() if not lane.is_hanging]
        if not hopeful:
            return
        _, late = await asyncio.wait(hopeful, timeout=limit_s)
        for lane, future in asked.items():
            if future in late:
                log.warning("%s hangs: %s takes more than %g s", lane.name, what, limit_s)
                lane.is_hanging = True
        if late:
            self._assemble()

    def _assemble(self) -> None:
        """Join what every lane said last."""
        if self.inventory is None:
            return
        indices = {key: index for index, key in self.inventory.keys.items()}
        readings: dict[int, Reading] = {}
        taken_s: dict[int, float] = {}
        for number, lane in enumerate(self._lanes):
            for key, reading in _newest(number, lane).items():
                if key in indices:
                    readings[indices[key]], taken_s[indices[key]] = reading, lane.sampled.taken_s
        oldest_s = min(lane.sampled.taken_s for lane in self._lanes)
        gone = Reading(trouble=": ".join((MISSING, *self.inventory.troubles[:1])))
        readings |= dict.fromkeys(self.inventory.missing, gone)
        places = range(1 + max(self.inventory.keys, default=-1))
        self.latest = Snapshot(
            taken_s=oldest_s,
            readings=tuple(readings.get(place, Reading()) for place in places),
            taken_by_device_s=taken_s,
        )


def _newest(number: int, lane: ProbeLane) -> dict[str, Reading]:
    """Return what a probe said last of each of its devices; of one that hangs, with that as its trouble."""
    sampled = lane.sampled
    readings = dict(zip(keys_of(number, sampled.scan), sampled.readings, strict=True))
    if not lane.is_hanging:
        return readings
    unread = dict.fromkeys(keys_of(number, lane.scan or Scan()), Reading())
    return {key: msgspec.structs.replace(reading, trouble=SILENCE) for key, reading in (unread | readings).items()}


def _scan(lane: ProbeLane) -> Scan:
    """Return what a probe said last; a probe that hangs is in trouble."""
    scan = lane.scan or Scan()
    return msgspec.structs.replace(scan, trouble=f"{lane.name}: {SILENCE}") if lane.is_hanging else scan
