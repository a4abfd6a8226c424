"""Models of servers that several share: listed, taken up when they are loaded behind our back, and reported."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import CRASH, FakeEngine, FakeHarness, FakeNode, FakeProbe, a_node

from cortex.contract.error import ModelNotFound
from cortex.contract.instance import InstanceReport, LoadRequest, UnloadRequest
from cortex.contract.node import RestartRequest
from cortex.neuron.harness.interface import ListedModel
from cortex.neuron.refusal import NotLoaded
from cortex.neuron.state_dir import Handle, Record

PID = 77


class SharedHarness(FakeHarness):
    """A server with models; what is listed as loaded can be recovered, in one process."""

    def __init__(self, *models: str, name: str = "fake") -> None:
        super().__init__(name, model="shared")
        self.models = ()
        self.list_all(**dict.fromkeys(models, "unloaded"))
        self.recoverable = True

    def list_all(self, **states: str) -> None:
        self.models = tuple(
            ListedModel(id=name, url="http://h", engine_model=name, status=state, devices=(0,), parallel=8)  # type: ignore[arg-type]
            for name, state in states.items()
        )

    async def recover(self, record: Record, log: Path) -> FakeEngine | None:
        if not self.recoverable:
            return None
        engine = FakeEngine(PID)
        engine.handle = Handle(pid=PID, start_ticks=1, url="http://h", engine_model=record.model_id, is_shared=True)
        engine.serves.set()
        self.engines.append(engine)
        return engine


Scenario = Callable[[FakeNode, SharedHarness], Awaitable[None]]


def play(tmp_path: Path, scenario: Scenario, *models: str, totals_mb: tuple[int, ...] = (40_000,)) -> None:
    async def run() -> None:
        harness = SharedHarness(*models)
        async with a_node(tmp_path, harness, probe=FakeProbe(totals_mb)) as node:
            await node.supervisor.adopt([])
            await scenario(node, harness)

    asyncio.run(run())


def report(node: FakeNode, model_id: str) -> InstanceReport:
    return next(report for report in node.supervisor.reports() if report.id == model_id)


def test_what_a_server_could_load_is_listed_as_unloaded(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, _: SharedHarness) -> None:
        assert report(node, "a") == InstanceReport(id="a", harness="fake", kind="fake", status="unloaded", devices=(0,))
        with pytest.raises(NotLoaded, match="a is unloaded"):
            node.supervisor.reach("a")
        with pytest.raises(ModelNotFound):
            node.supervisor.reach("c")
        assert (await node.supervisor.unload(UnloadRequest(model_id="a"))).status == "unloaded"

    play(tmp_path, scenario, "a", "b")


def test_a_model_that_is_loaded_at_the_start_becomes_an_instance(tmp_path: Path) -> None:
    async def run() -> None:
        harness = SharedHarness()
        harness.list_all(a="loaded", b="unloaded")
        async with a_node(tmp_path, harness) as node:
            await node.supervisor.adopt([])
            await node.until("a", "loaded")
            found = report(node, "a")
            assert (found.generation, found.declared_mb, found.parallel, found.devices) == (1, 0, 8, (0,))
            assert node.supervisor.reach("a").engine_model == "a"
            assert node.status("b") == "unloaded"

    asyncio.run(run())


def test_a_model_that_a_request_has_loaded_is_a_resident_at_its_measured_size(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        harness.list_all(a="loaded")
        node.probe.uses[0] = {PID: 9000}
        await node.supervisor.look()
        await node.until("a", "loaded")
        await node.sampler.refresh()
        node.supervisor.sampled()
        assert report(node, "a").vram_used_mb == 9000
        assert node.admission.strangers_mb(0) == 0
        assert node.booked() == ([], ["a"])

    play(tmp_path, scenario, "a")


def test_one_that_was_unloaded_says_where_it_would_be(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, _: SharedHarness) -> None:
        await node.load("a")
        await node.supervisor.unload(UnloadRequest(model_id="a", wait=False))
        await node.until("a", "unloaded")
        assert (report(node, "a").devices, report(node, "a").generation) == ((0,), 1)

    play(tmp_path, scenario, "a")


def test_it_is_taken_up_with_what_it_was_last_loaded_with(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        await node.load("a", idle_unload_s=60.0, pinned=True)
        await node.supervisor.unload(UnloadRequest(model_id="a", wait=False))
        await node.until("a", "unloaded")
        harness.list_all(a="loaded")
        await node.supervisor.look()
        await node.until("a", "loaded")
        again = report(node, "a")
        assert (again.pinned, again.declared_mb, again.generation, again.restarts) == (True, 0, 2, 1)

    play(tmp_path, scenario, "a")


def test_a_model_that_has_a_life_is_not_taken_up_twice(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        await node.load("a")
        harness.list_all(a="loaded")
        await node.supervisor.look()
        await node.supervisor.look()
        assert report(node, "a").generation == 1
        assert len(harness.engines) == 1

    play(tmp_path, scenario, "a")


def test_one_that_is_gone_again_is_left_alone(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        harness.list_all(a="loading")
        harness.recoverable = False
        await node.supervisor.look()
        assert node.status("a") == "unloaded"
        assert node.booked() == ([], [])

    play(tmp_path, scenario, "a")


def test_one_that_failed_and_is_seen_again_lives_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        await node.load("a")
        harness.engines[0].crash(CRASH)
        await node.until("a", "failed")
        await node.let_pass(lambda: node.booked() == ([], []))
        harness.list_all(a="loaded")
        await node.supervisor.look()
        await node.until("a", "loaded")

    play(tmp_path, scenario, "a")


def test_an_unload_finds_what_was_loaded_behind_our_back(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        harness.list_all(a="loaded")
        assert (await node.supervisor.unload(UnloadRequest(model_id="a", wait=False))).status == "draining"
        await node.until("a", "unloaded")
        assert [engine.stops for engine in harness.engines] == [1]

    play(tmp_path, scenario, "a")


def test_a_silent_server_is_unhealthy_and_takes_nothing_up(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        harness.models = None
        await node.supervisor.look()
        assert [health.healthy for health in node.supervisor.health()] == [False]
        assert node.status("a") == "unloaded", "it is still known"
        harness.list_all(a="loaded")
        await node.supervisor.look()
        assert [health.healthy for health in node.supervisor.health()] == [True]

    play(tmp_path, scenario, "a")


def test_a_model_that_only_a_restart_brings_back_makes_one_due(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        assert [health.restart_due for health in node.supervisor.health()] == [False]
        assert harness.models
        harness.models = tuple(msgspec.structs.replace(listed, is_broken=True) for listed in harness.models)
        await node.supervisor.look()
        assert [health.restart_due for health in node.supervisor.health()] == [True]

    play(tmp_path, scenario, "a")


def test_nothing_is_taken_up_while_the_server_is_restarted(tmp_path: Path) -> None:
    class Restarted(SharedHarness):
        async def restart(self) -> None:
            self.list_all(a="loaded")
            await node_box[0].supervisor.look()
            seen.append(node_box[0].status("a"))

    node_box: list[FakeNode] = []
    seen: list[str] = []

    async def run() -> None:
        harness = Restarted("a")
        async with a_node(tmp_path, harness) as node:
            node_box.append(node)
            await node.supervisor.restart("fake", RestartRequest())
            assert seen == ["unloaded"]
            await node.supervisor.look()
            await node.until("a", "loaded")

    asyncio.run(run())


def test_the_model_goes_where_its_server_is_whatever_is_free(tmp_path: Path) -> None:
    class OnTheSecond(SharedHarness):
        async def prepare(self, request, devices):  # type: ignore[no-untyped-def]
            prepared = await super().prepare(request, devices)
            return msgspec.structs.replace(prepared, devices=(1,))

    async def run() -> None:
        async with a_node(tmp_path, OnTheSecond("a"), probe=FakeProbe((9000, 1000))) as node:
            await node.supervisor.load(LoadRequest(model_id="a", harness="fake", vram_mb=100))
            assert report(node, "a").devices == (1,)

    asyncio.run(run())


def test_the_memory_of_one_model_is_waited_for_while_the_server_keeps_the_rest(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        node.probe.uses[0] = {PID: 20_000}
        harness.list_all(a="loaded", b="loaded")
        await node.supervisor.look()
        await node.until("a", "loaded")
        await node.until("b", "loaded")
        await node.sampler.refresh()
        node.supervisor.sampled()
        unload = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id="b")))
        harness.list_all(a="loaded", b="unloaded")
        await node.let_pass(lambda: node.status("b") == "unloading" and node.clock.sleepers() > 0)
        assert not unload.done()
        node.probe.uses[0] = {PID: 100}
        await node.let_pass(unload.done)
        assert [health.leaking_cycles for health in node.supervisor.health()] == [0]

    play(tmp_path, scenario)


def test_memory_that_does_not_come_back_is_a_leak_and_a_strangers(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, harness: SharedHarness) -> None:
        node.probe.uses[0] = {PID: 20_000}
        harness.list_all(a="loaded")
        await node.supervisor.look()
        await node.until("a", "loaded")
        await node.sampler.refresh()
        node.supervisor.sampled()
        unload = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id="a")))
        harness.list_all(a="unloaded")
        await node.let_pass(unload.done)
        (health,) = node.supervisor.health()
        assert (health.cycles, health.leaking_cycles, health.restart_due) == (1, 1, True)
        assert node.admission.strangers_mb(0) == 20_000, "nobody else is given it"

    play(tmp_path, scenario)
