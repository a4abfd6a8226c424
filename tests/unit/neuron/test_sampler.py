"""The newest sample is always at hand: probes work in one thread, and one that hangs or breaks harms nobody else."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.discovery.fake_nvml import Board, FakeNvml

from cortex.neuron import sampler as sampler_module
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.discovery.interface import FoundDevice, Probe, Reading, Scan
from cortex.neuron.discovery.nvml import NvmlProbe
from cortex.neuron.sampler import Sampler
from cortex.testing.virtual_clock import VirtualClock

GPU = FoundDevice(name="gpu", kind="cuda", vram_total_mb=24000, compute_capability="8.9", uuid="GPU-1", numa=1)
CPU = FoundDevice(name="cpu", kind="cpu", vram_total_mb=64000)


class Devices:
    """A probe of these devices that notes whom it was asked about; ``is_held``: each reading waits for a ``go``."""

    def __init__(self, *devices: FoundDevice, **versions: str) -> None:
        self.found = Scan(devices=devices, **versions)
        self.asked: list[frozenset[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.is_held = False

    def scan(self) -> Scan:
        return self.found

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        self.asked.append(pids)
        self.begun.release()
        if self.is_held:
            assert self.go.acquire(timeout=30)
        return tuple(Reading(vram_used_mb=len(self.asked)) for _ in self.found.devices)


class Broken:
    """A probe with a defect."""

    def __init__(self, *, also_scan: bool) -> None:
        self._also_scan = also_scan

    def scan(self) -> Scan:
        if self._also_scan:
            raise ZeroDivisionError
        return Scan(devices=(GPU,))

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        raise ZeroDivisionError


def with_sampler(
    test: Callable[[Sampler, VirtualClock], Awaitable[None]],
    *probes: Probe,
    pids: Callable[[], frozenset[int]] = frozenset,
) -> None:
    """Run a test with a sampler of these probes that has discovered; its thread ends with the test."""

    async def run() -> None:
        clock = VirtualClock()
        host = HostReader(Path("/nowhere"), "/nowhere/nvcc")
        sampler = Sampler(probes, host, clock, pids, cpu_device=True)
        try:
            await sampler.discover()
            await test(sampler, clock)
        finally:
            sampler.close()

    asyncio.run(run())


def used(sampler: Sampler) -> list[int | None]:
    return [reading.vram_used_mb for reading in sampler.latest.readings]


async def all_heard(sampler: Sampler) -> None:
    """Wait until every probe has answered all that it was asked."""
    await asyncio.wait([asked for lane in sampler._lanes for asked in lane._asked])


async def begun(probe: Devices) -> None:
    """Wait until the probe is at its next reading."""
    assert await asyncio.to_thread(probe.begun.acquire, timeout=30)


def test_before_the_first_sample_there_is_an_empty_one_that_ages() -> None:
    async def run(sampler: Sampler, clock: VirtualClock) -> None:
        clock.advance(3)
        assert (sampler.latest.readings, sampler.age_s()) == ((Reading(),), 3)

    with_sampler(run, Devices(CPU))


def test_a_refresh_gives_a_sample_of_now_for_the_processes_of_now() -> None:
    probe = Devices(CPU)
    pids = [frozenset({7}), frozenset({8, 9})]

    async def run(sampler: Sampler, clock: VirtualClock) -> None:
        await sampler.refresh()
        clock.advance(5)
        assert await sampler.refresh() is sampler.latest
        assert (used(sampler), sampler.age_s(), probe.asked) == ([2], 0, [frozenset({7}), frozenset({8, 9})])

    with_sampler(run, probe, pids=lambda: pids.pop(0))


def test_a_probe_that_tells_of_too_few_devices_tells_of_none_and_the_others_keep_their_places() -> None:
    short = Devices(GPU, GPU)

    async def run(sampler: Sampler, _: VirtualClock) -> None:
        short.found = Scan(devices=(GPU,))
        await sampler.refresh()
        assert used(sampler) == [None, None, 1]

    with_sampler(run, short, Devices(CPU))


@pytest.mark.parametrize(("also_scan", "expected"), [(True, [1]), (False, [None, 1])], ids=["at once", "later"])
def test_a_probe_with_a_defect_is_told_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, also_scan: bool, expected: list[int | None]
) -> None:
    async def run(sampler: Sampler, _: VirtualClock) -> None:
        await sampler.refresh()
        assert used(sampler) == expected

    with_sampler(run, Broken(also_scan=also_scan), Devices(CPU))
    assert "Broken failed" in caplog.text


def test_whoever_asks_while_a_sample_is_taken_gets_the_next_one() -> None:
    probe = Devices(CPU)
    probe.is_held = True
    pids: set[int] = set()

    async def run(sampler: Sampler, _: VirtualClock) -> None:
        first = asyncio.create_task(sampler.refresh())
        await begun(probe)
        later = []
        for pid in (7, 8, 9):
            pids.clear()
            pids.add(pid)
            later.append(asyncio.create_task(sampler.refresh()))
            await asyncio.sleep(0)
        probe.go.release(2)
        await first
        assert [(await task).readings for task in later] == [(Reading(vram_used_mb=2),)] * 3
        assert probe.asked == [frozenset(), frozenset({7, 8, 9})]

    with_sampler(run, probe, pids=lambda: frozenset(pids))


def test_a_hanging_probe_leaves_the_old_sample_and_what_it_says_at_last_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sampler_module, "DEADLINE_S", 0)
    probe = Devices(CPU)
    probe.is_held = True

    async def run(sampler: Sampler, clock: VirtualClock) -> None:
        hanging = asyncio.create_task(sampler.refresh())
        await begun(probe)
        clock.advance(40)
        assert (await hanging).readings == (Reading(trouble="its driver does not answer"),)
        assert (await sampler.refresh()).readings == (Reading(trouble="its driver does not answer"),)
        assert caplog.messages == ["Devices hangs: a reading takes more than 0 s"]
        assert (sampler.age_s(), sampler.is_stale) == (40, True)
        probe.go.release()
        await begun(probe)  # the second one; the first is over
        assert (used(sampler), sampler.age_s()) == ([1], 40)
        probe.go.release()

    with caplog.at_level(logging.WARNING):
        with_sampler(run, probe)
    assert len(probe.asked) == 2, "those who ask meanwhile share one"


def test_a_caller_that_gives_up_leaves_the_sample_to_the_others() -> None:
    probe = Devices(CPU)
    probe.is_held = True

    async def run(sampler: Sampler, _: VirtualClock) -> None:
        task = asyncio.create_task(sampler.refresh())
        await begun(probe)
        task.cancel()
        await asyncio.wait((task,))
        other = asyncio.create_task(sampler.refresh())
        await asyncio.sleep(0)
        probe.go.release()
        await begun(probe)
        assert used(sampler) == [1]
        probe.go.release()
        await other
        assert used(sampler) == [2]

    with_sampler(run, probe)


def test_it_samples_for_ever_and_says_so_each_time() -> None:
    async def run(sampler: Sampler, _: VirtualClock) -> None:
        seen: list[list[int | None]] = []
        enough = asyncio.Event()

        def after_sample() -> None:
            seen.append(used(sampler))
            if len(seen) == 3:
                enough.set()

        task = asyncio.create_task(sampler.run(after_sample, interval_s=0))
        await enough.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert seen[:3] == [[1], [2], [3]]

    with_sampler(run, Devices(CPU))


def test_closing_waits_for_no_hanging_probe() -> None:
    probe = Devices(CPU)
    probe.is_held = True

    async def run(sampler: Sampler, _: VirtualClock) -> None:
        running = asyncio.create_task(sampler.refresh())
        await begun(probe)
        waiting = asyncio.create_task(sampler.refresh())
        await asyncio.sleep(0)
        sampler.close()
        assert [(await task).readings for task in (running, waiting)] == [(Reading(),)] * 2

    with_sampler(run, probe)
    probe.go.release()
    assert len(probe.asked) == 1


def test_a_hanging_probe_makes_no_other_devices_reading_old() -> None:
    gpu, cpu = Devices(GPU), Devices(CPU)

    async def run(sampler: Sampler, clock: VirtualClock) -> None:
        await sampler.refresh()
        gpu.is_held = True
        hanging = asyncio.create_task(sampler.refresh())
        await begun(gpu)
        await begun(gpu)
        sampler._lanes[0].is_hanging = True  # as if somebody had waited for it in vain
        clock.advance(100)
        await sampler.refresh()
        now_s = clock.now_s()
        assert [now_s - taken_s for taken_s in sampler.latest.taken_by_device_s.values()] == [100, 0]
        assert [reading.trouble for reading in sampler.latest.readings] == ["its driver does not answer", None]
        assert used(sampler) == [1, 3], "what it said last stays"
        gpu.go.release(2)
        await hanging

    with_sampler(run, gpu, cpu)


def test_a_scan_that_hangs_says_what_the_last_one_said_and_is_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "SCAN_DEADLINE_S", 0)
    gate = threading.Event()

    class Hanging(Devices):
        def scan(self) -> Scan:
            assert gate.wait(timeout=30)
            return super().scan()

    async def run() -> None:
        sampler = Sampler((Hanging(GPU), Devices(CPU)), HostReader(Path("/no"), "/no"), VirtualClock(), frozenset)
        try:
            first = await sampler.discover()
            assert [device.name for device in first.devices] == ["cpu"] or first.devices == ()
            assert "Hanging: its driver does not answer" in first.troubles
            gate.set()
            monkeypatch.setattr(sampler_module, "SCAN_DEADLINE_S", 30)
            await all_heard(sampler)
            second = await sampler.discover()
            assert [device.name for device in second.devices] == ["gpu"]
            assert second.troubles == ()
        finally:
            gate.set()
            sampler.close()

    asyncio.run(run())


def test_a_device_that_the_newest_scan_does_not_show_is_in_trouble_until_it_is_gone() -> None:
    gpu = Devices(GPU)

    async def run(sampler: Sampler, _: VirtualClock) -> None:
        await sampler.refresh()
        gpu.found = Scan(trouble="no driver")
        await sampler.discover()
        for _ in range(2):
            assert sampler.latest.readings[0] == Reading(trouble="it is not shown any more: no driver")
            assert sampler.latest.readings[1].trouble is None
            await sampler.refresh()
        inventory = await sampler.discover()
        assert [device.index for device in inventory.devices] == [1]

    with_sampler(run, gpu, Devices(CPU))


class HangingNvml(FakeNvml):
    """An NVML that does not come back from a question while its driver hangs."""

    def __init__(self, *boards: Board) -> None:
        super().__init__(*boards)
        self.answers = threading.Event()
        self.answers.set()
        self.is_asked = threading.Event()

    def _nvmlDeviceGetPowerUsage(self, board: Board) -> int:
        if not self.answers.is_set():
            self.is_asked.set()
        assert self.answers.wait(timeout=30)
        return super()._nvmlDeviceGetPowerUsage(board)


def test_a_driver_that_hangs_costs_only_its_own_devices_and_is_heard_when_it_answers() -> None:
    nvml = HangingNvml(Board("NVIDIA H200", "GPU-h200", 143771, 700))
    cpu = Devices(CPU)

    async def run(sampler: Sampler, clock: VirtualClock) -> None:
        await sampler.refresh()
        nvml.answers.clear()
        hanging = asyncio.create_task(sampler.refresh())
        assert await asyncio.to_thread(nvml.is_asked.wait, 30)
        sampler._lanes[0].is_hanging = True  # as if somebody had waited for it in vain
        for _ in range(3):
            clock.advance(20)
            await sampler.refresh()
        asked = len(nvml.calls)
        gpu, other = sampler.latest.readings
        assert (gpu.vram_used_mb, gpu.trouble, sampler.is_stale) == (700, "its driver does not answer", True)
        assert other.trouble is None
        assert [clock.now_s() - taken_s for taken_s in sampler.latest.taken_by_device_s.values()] == [60, 0]
        clock.advance(20)
        await sampler.refresh()
        assert len(nvml.calls) == asked, "nothing more is asked of it"
        inventory = await sampler.discover()
        assert [device.kind for device in inventory.devices] == ["cuda", "cpu"]
        assert inventory.troubles == ("NvmlProbe: its driver does not answer",)
        nvml.answers.set()
        await all_heard(sampler)
        await hanging
        await sampler.refresh()
        assert (sampler.latest.readings[0].trouble, sampler.is_stale) == (None, False)

    with_sampler(run, NvmlProbe(Path("/nowhere"), nvml.binding), cpu)


def test_a_process_ends_although_a_probe_hangs() -> None:
    """The thread that hangs is a daemon, and nothing at the end of the process joins it."""
    program = """
import asyncio, threading
from pathlib import Path
from cortex.kit.clock import SystemClock
from cortex.neuron import sampler as module
from cortex.neuron.discovery.host import HostReader

module.SCAN_DEADLINE_S = 0.01

class Hanging:
    def scan(self):
        threading.Event().wait()

async def main():
    sampler = module.Sampler((Hanging(),), HostReader(Path("/no"), "/no"), SystemClock(), frozenset)
    print((await sampler.discover()).troubles)
    sampler.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "Hanging hangs: a scan takes more than 0.01 s\n")
    assert "Hanging: its driver does not answer" in done.stdout
