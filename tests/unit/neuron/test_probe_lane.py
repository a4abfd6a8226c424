"""A probe in a thread of its own: what one lane keeps. What the sampler does with several is in its own tests."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.probe_lane import DEFECT, ProbeLane
from cortex.testing.virtual_clock import VirtualClock

FOUND = Scan(devices=(FoundDevice(name="gpu", kind="cuda", vram_total_mb=1),))


class Probe:
    """Finds one GPU; each call waits for a ``go`` while it is held."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.is_held = False
        self.threads: set[threading.Thread] = set()
        self.calls: list[str] = []
        self.readings: tuple[Reading, ...] | None = (Reading(vram_used_mb=1),)

    def scan(self) -> Scan:
        self._call("scan")
        return FOUND

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        self._call(f"read {sorted(pids)}")
        if self.readings is None:
            raise ZeroDivisionError
        return self.readings

    def _call(self, what: str) -> None:
        self.calls.append(what)
        self.threads.add(threading.current_thread())
        self.begun.release()
        if self.is_held:
            assert self.go.acquire(timeout=30)


def with_lane(test: Callable[[ProbeLane, Probe], Awaitable[None]]) -> None:
    async def run() -> None:
        probe = Probe()
        lane = ProbeLane(probe, VirtualClock(), lambda: None)
        try:
            await test(lane, probe)
        finally:
            probe.is_held = False
            probe.go.release(10)
            lane.close()

    asyncio.run(run())


def test_all_calls_are_made_in_one_daemon_thread() -> None:
    async def test(lane: ProbeLane, probe: Probe) -> None:
        await lane.ask_scan()
        await lane.ask_reading({7})
        (thread,) = probe.threads
        assert (thread.daemon, thread.name) == (True, "Probe")
        assert (lane.scan, lane.sampled.readings) == (FOUND, (Reading(vram_used_mb=1),))

    with_lane(test)


def test_a_scan_that_hangs_is_not_asked_for_again_and_again() -> None:
    async def test(lane: ProbeLane, probe: Probe) -> None:
        probe.is_held = True
        first = lane.ask_scan()
        assert await asyncio.to_thread(probe.begun.acquire, timeout=30)
        later = [lane.ask_scan() for _ in range(5)]
        assert lane.is_asked
        probe.is_held = False
        probe.go.release()
        await asyncio.gather(first, *later)
        assert probe.calls == ["scan", "scan"]
        assert not lane.is_asked

    with_lane(test)


def test_a_probe_that_is_heard_hangs_no_more() -> None:
    async def test(lane: ProbeLane, _: Probe) -> None:
        lane.is_hanging = True
        await lane.ask_scan()
        assert not lane.is_hanging

    with_lane(test)


def test_a_probe_with_a_defect_tells_of_all_its_devices_that_it_has_one() -> None:
    async def test(lane: ProbeLane, probe: Probe) -> None:
        await lane.ask_scan()
        for readings in ((), None):
            probe.readings = readings
            await lane.ask_reading(set())
            assert lane.sampled.readings == (Reading(trouble=DEFECT),)

    with_lane(test)


def test_closing_gives_up_what_was_asked() -> None:
    async def test(lane: ProbeLane, probe: Probe) -> None:
        probe.is_held = True
        asked = lane.ask_scan()
        lane.close()
        await asyncio.wait((asked,))
        assert asked.cancelled()

    with_lane(test)
