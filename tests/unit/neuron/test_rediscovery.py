"""What is found out again while a neuron runs: devices that come and go, harnesses that can be used after all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.unit.neuron.fake_node import FakeHarness, FakeProbe

from cortex.contract.node import HarnessDetail
from cortex.neuron import rediscovery as module
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.rediscovery import Rediscovery, gpu_kinds
from cortex.neuron.sampler import Sampler
from cortex.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from cortex.neuron.inventory import Inventory

UNUSABLE = HarnessDetail(name="fake", kind="fake", usable=False, why_not="no binary")


class CountedHarness(FakeHarness):
    """Counts its probes."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.probes = 0
        self.error: Exception | None = None

    async def probe(self) -> HarnessDetail:
        self.probes += 1
        if self.error is not None:
            raise self.error
        return await super().probe()


def as_probed(harness: CountedHarness) -> HarnessDetail:
    return msgspec.structs.replace(harness.detail, device_kinds=("cpu", "cuda"))


class Scene:
    """A sampler of one probe, harnesses, and what was told of changes."""

    def __init__(self, *harnesses: CountedHarness, details: Sequence[HarnessDetail] | None = None) -> None:
        self.probe = FakeProbe((1000,))
        self.trouble: str | None = None
        scan, read = self.probe.scan, self.probe.read
        self.probe.scan = lambda: _with(scan(), self.trouble)  # type: ignore[method-assign]
        self.probe.read = lambda pids: tuple(_with(r, self.trouble) for r in read(pids))  # type: ignore[method-assign]
        self.harnesses = harnesses or (CountedHarness(),)
        self.sampler = Sampler((self.probe,), HostReader(Path("/no"), "/no/nvcc"), VirtualClock(), frozenset)
        self.told: list[tuple[Inventory, Sequence[HarnessDetail]]] = []
        self.changed: list[Inventory] = []
        self.rediscovery = Rediscovery(
            self.sampler,
            self.harnesses,
            [as_probed(harness) for harness in self.harnesses] if details is None else details,
            is_used=lambda _: False,
            inventory_changed=self.changed.append,
            renewed=lambda inventory, told: self.told.append((inventory, told)),
        )


def _with(value, trouble):  # type: ignore[no-untyped-def]
    return type(value)(**{name: getattr(value, name) for name in value.__struct_fields__} | {"trouble": trouble})


@asynccontextmanager
async def looking(scene: Scene) -> AsyncIterator[None]:
    """Look for ever, as long as the block goes on."""
    running = asyncio.create_task(scene.rediscovery.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait((running,))


def play(scene: Scene, test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        try:
            await scene.sampler.discover()
            await scene.sampler.refresh()
            await test()
        finally:
            scene.sampler.close()

    asyncio.run(run())


def test_nothing_is_told_and_no_usable_harness_asked_while_nothing_changes() -> None:
    scene = Scene()

    async def test() -> None:
        for _ in range(3):
            await scene.rediscovery.look()
        assert (scene.told, scene.changed, scene.harnesses[0].probes) == ([], [], 0)

    play(scene, test)


def test_a_gpu_that_appears_is_told_sampled_and_every_harness_asked_what_it_can_do_with_it() -> None:
    scene = Scene()

    async def test() -> None:
        scene.probe.devices = FakeProbe((1000, 2000)).devices
        await scene.rediscovery.look()
        ((inventory, details),) = scene.told
        assert [device.vram_total_mb for device in inventory.devices] == [1000, 2000]
        assert scene.changed == [inventory]
        assert len(scene.sampler.latest.readings) == 2
        assert details == (as_probed(scene.harnesses[0]),)
        assert scene.harnesses[0].probes == 1

    play(scene, test)


def test_a_gpu_that_vanishes_is_told() -> None:
    scene = Scene()

    async def test() -> None:
        scene.probe.devices = ()
        await scene.rediscovery.look()
        assert scene.told == []
        await scene.rediscovery.look()
        ((inventory, _),) = scene.told
        assert inventory.devices == ()

    play(scene, test)


def test_a_harness_that_was_unusable_is_asked_again_until_it_can_be_used(caplog: pytest.LogCaptureFixture) -> None:
    harness = CountedHarness()
    harness.detail = UNUSABLE
    scene = Scene(harness)

    async def test() -> None:
        await scene.rediscovery.look()
        assert (scene.told, harness.probes) == ([], 1)
        harness.detail = HarnessDetail(name="fake", kind="fake", usable=True)
        await scene.rediscovery.look()
        ((_, details),) = scene.told
        assert details == (as_probed(harness),)
        await scene.rediscovery.look()
        assert harness.probes == 2
        assert "harness fake can be used now" in caplog.text

    play(scene, test)


def test_a_probe_of_a_harness_that_fails_leaves_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    broken, fine = CountedHarness("broken"), CountedHarness("fine")
    broken.detail = fine.detail = HarnessDetail(name="x", kind="fake", usable=True)
    broken.error = ZeroDivisionError()
    before = [HarnessDetail(name=name, kind="fake", usable=False, why_not="no") for name in ("broken", "fine")]
    fine.detail = HarnessDetail(name="fine", kind="fake", usable=True)
    scene = Scene(broken, fine, details=before)

    async def test() -> None:
        await scene.rediscovery.look()
        ((_, details),) = scene.told
        assert details == (before[0], as_probed(fine))
        assert "harness broken: its probe failed" in caplog.text

    play(scene, test)


def test_a_trouble_is_looked_after_soon_and_then_ever_more_seldom() -> None:
    scene = Scene()

    async def test() -> None:
        assert scene.rediscovery.pause_s() == 60
        scene.trouble = "the GPU is lost"
        pauses = []
        for _ in range(6):
            await scene.sampler.refresh()
            await scene.rediscovery.look()
            pauses.append(scene.rediscovery.pause_s())
        assert pauses == [5, 10, 20, 40, 60, 60]
        scene.trouble = None
        await scene.sampler.refresh()
        await scene.rediscovery.look()
        assert scene.rediscovery.pause_s() == 60

    play(scene, test)


def test_a_trouble_in_a_sample_makes_it_look_at_once_and_not_again_with_every_sample() -> None:
    scene = Scene()

    async def test() -> None:
        looks: list[int] = []
        look = scene.rediscovery.look
        seen = asyncio.Event()

        async def counted() -> None:
            await look()
            looks.append(1)
            seen.set()

        scene.rediscovery.look = counted  # type: ignore[method-assign]
        async with looking(scene):
            scene.rediscovery.sampled()
            await asyncio.sleep(0)
            assert looks == []
            scene.trouble = "the GPU is lost"
            await scene.sampler.refresh()
            scene.rediscovery.sampled()
            await seen.wait()
            for _ in range(5):
                scene.rediscovery.sampled()
                await asyncio.sleep(0)
            assert looks == [1]

    play(scene, test)


def test_it_looks_at_once_when_somebody_asks_for_it() -> None:
    scene = Scene()

    async def test() -> None:
        looked = asyncio.Event()

        async def look() -> None:
            looked.set()

        scene.rediscovery.look = look  # type: ignore[method-assign]
        async with looking(scene):
            scene.rediscovery.want()
            await looked.wait()

    play(scene, test)


def test_without_news_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0)
    scene = Scene()

    async def test() -> None:
        enough = asyncio.Event()
        looks = []

        async def counted() -> None:
            looks.append(1)
            if len(looks) == 3:
                enough.set()

        scene.rediscovery.look = counted  # type: ignore[method-assign]
        async with looking(scene):
            await enough.wait()

    play(scene, test)


def test_a_look_that_fails_is_told_and_the_next_one_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0)
    scene = Scene()

    async def test() -> None:
        again = asyncio.Event()
        looks = []

        async def failing() -> None:
            looks.append(1)
            if len(looks) == 2:
                again.set()
            raise ZeroDivisionError

        scene.rediscovery.look = failing  # type: ignore[method-assign]
        async with looking(scene):
            await again.wait()
        assert "looking for changes of the node failed" in caplog.text

    play(scene, test)


def test_kinds_of_gpus_are_without_the_cpu() -> None:
    scene = Scene()

    async def test() -> None:
        assert gpu_kinds(await scene.sampler.discover()) == {"cuda"}

    play(scene, test)
