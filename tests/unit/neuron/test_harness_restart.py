"""A harness's engines are restarted once, however many ask, and nothing that runs is cut unless it is forced."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import MODEL, FakeEngine, FakeHarness, FakeNode, a_node, a_request

from cortex.contract.error import CortexError, ShuttingDown, UpstreamUnreachable
from cortex.contract.instance import UnloadRequest
from cortex.contract.node import RestartAnswer, RestartRequest
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.harness.interface import Activity
from cortex.neuron.refusal import Busy, NotManaged, Stale, UnknownHarness

DONE = RestartAnswer(status="restarted", cycles=0)


class SharedHarness(FakeHarness):
    """One whose models share a server; ``trouble`` is why that does not come back."""

    def __init__(self) -> None:
        super().__init__()
        self.restarts = 0
        self.trouble: CortexError | None = None

    async def restart(self) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.restarts += 1


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]], *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses) as node:
            await scenario(node)

    asyncio.run(run())


def restart(node: FakeNode, name: str = "fake", **how: object) -> asyncio.Task[RestartAnswer]:
    return asyncio.create_task(node.supervisor.restart(name, RestartRequest(**how)))


async def outcome(node: FakeNode, call: asyncio.Task[RestartAnswer]) -> object:
    await node.let_pass(call.done)
    return call.exception() or call.result()


def cycles(node: FakeNode) -> int:
    return node.supervisor.health()[0].cycles


async def unloaded_once(node: FakeNode) -> None:
    await node.load()
    unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
    await node.let_pass(unloading.done)


def test_a_server_that_cannot_be_restarted_from_here_loses_no_model(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.capabilities = msgspec.structs.replace(node.harness.capabilities, can_restart=False)
        await node.load()
        refusal = await outcome(node, restart(node))
        assert isinstance(refusal, NotManaged)
        assert "has no `systemd_unit`" in refusal.message
        assert node.instances[MODEL].status == "loaded"

    play(tmp_path, scenario, SharedHarness())


def test_a_restart_unloads_what_the_harness_has_and_begins_its_count_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("other", harness="second")
        await unloaded_once(node)
        await node.load()
        before = node.events.event
        assert await outcome(node, restart(node, cycles=1)) == DONE
        assert (node.status(), node.status("other"), cycles(node)) == ("unloaded", "loaded", 0)
        assert {report.unload_reason for report in node.supervisor.reports()} == {"restart", None}
        assert node.events.event > before

    play(tmp_path, scenario, FakeHarness(), FakeHarness("second"))


def test_a_server_that_models_share_is_restarted_once_it_is_empty(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        assert await outcome(node, restart(node)) == DONE
        assert (node.status(), shared.restarts) == ("unloaded", 1)

    shared = SharedHarness()
    play(tmp_path, scenario, shared)


def test_a_server_that_does_not_come_back_is_told_and_keeps_its_count(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await unloaded_once(node)
        shared.trouble = UpstreamUnreachable("it does not answer")
        assert await outcome(node, restart(node)) is shared.trouble
        assert cycles(node) == 1
        shared.trouble = None
        assert await outcome(node, restart(node)) == DONE

    shared = SharedHarness()
    play(tmp_path, scenario, shared)


def test_two_that_act_on_one_count_cause_one_restart(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await unloaded_once(node)
        await node.load()
        calls = [restart(node, cycles=1), restart(node, cycles=1)]
        assert [await outcome(node, call) for call in calls] == [DONE, DONE]
        late = await outcome(node, restart(node, cycles=1))
        assert isinstance(late, Stale)
        assert late.details == {"cycles": 0}
        assert shared.restarts == 1

    shared = SharedHarness()
    play(tmp_path, scenario, shared)


def test_a_busy_model_ends_a_restart_unless_it_is_forced(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await unloaded_once(node)
        await node.load()
        node.harness.engines[-1].activity_now = Activity(in_flight=1, work=1)
        assert isinstance(await outcome(node, restart(node)), Busy)
        assert (node.status(), cycles(node)) == ("loaded", 1)
        assert await outcome(node, restart(node, force=True)) == DONE
        assert (node.status(), cycles(node)) == ("unloaded", 0)

    play(tmp_path, scenario)


def test_a_load_under_way_is_not_broken_off_unless_that_is_forced(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("other")
        node.harness.starts.append(FakeEngine())
        await node.supervisor.load(a_request())
        assert isinstance(await outcome(node, restart(node)), Busy)
        assert (node.status(), node.status("other")) == ("loading", "loaded")
        assert await outcome(node, restart(node, force=True)) == DONE
        assert node.booked() == ([], [])

    play(tmp_path, scenario)


def test_what_its_server_does_not_unload_goes_with_the_server(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        (engine,) = shared.engines
        engine.handle, engine.is_stubborn = msgspec.structs.replace(engine.handle, is_shared=True), True
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        assert isinstance(unloading.exception(), Busy)
        assert node.supervisor.health()[0].restart_due
        assert await outcome(node, restart(node)) == DONE
        assert shared.restarts == 1
        engine.crash()
        await node.load()
        assert not node.supervisor.health()[0].restart_due

    shared = SharedHarness()
    play(tmp_path, scenario, shared)


def test_that_a_restart_is_due_is_told_when_a_server_does_not_unload_a_model(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        (engine,) = shared.engines
        engine.handle, engine.is_stubborn = msgspec.structs.replace(engine.handle, is_shared=True), True
        feed = EventFeed(node.events, node.supervisor.reports, node.supervisor.health)
        begin = node.events.event
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        assert isinstance(unloading.exception(), Busy)
        assert [health.restart_due for change in feed.after(begin) for health in change.harnesses] == [True]
        engine.crash()

    shared = SharedHarness()
    play(tmp_path, scenario, shared)


def test_a_process_that_does_not_end_ends_a_restart(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].is_stubborn = True
        refusal = await outcome(node, restart(node, force=True))
        assert isinstance(refusal, Busy)
        assert "does not end" in refusal.message

    play(tmp_path, scenario)


def test_nothing_is_loaded_into_a_harness_that_is_being_restarted(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        call = restart(node)
        await node.until(MODEL, "draining")
        with pytest.raises(Busy, match="is being restarted"):
            await node.supervisor.load(a_request("other"))
        node.harness.engines[0].activity_now = Activity(in_flight=0, work=1)
        assert await outcome(node, call) == DONE
        await node.load("other")

    play(tmp_path, scenario)


def test_a_caller_that_leaves_does_not_stop_a_restart(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        first, second = restart(node), restart(node)
        await node.until(MODEL, "draining")
        first.cancel()
        node.harness.engines[0].activity_now = Activity(in_flight=0, work=1)
        assert await outcome(node, second) == DONE

    play(tmp_path, scenario)


def test_a_neuron_that_stops_leaves_a_restart(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        call = restart(node)
        await node.until(MODEL, "draining")
        await node.supervisor.stop(keep_engines=True)
        assert isinstance(await outcome(node, call), ShuttingDown)

    play(tmp_path, scenario)


def test_what_is_not_ours_or_not_there_is_not_restarted(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert isinstance(await outcome(node, restart(node, "theirs")), NotManaged)
        unknown = await outcome(node, restart(node, "what"))
        assert isinstance(unknown, UnknownHarness)
        assert unknown.message == "no harness 'what' on this node; there are: fake, theirs"

    play(tmp_path, scenario, FakeHarness(), FakeHarness("theirs", model="foreign"))


def test_memory_that_did_not_come_back_makes_a_restart_due(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.probe.uses = {0: {node.harness.engines[0].handle.pid: 50}}
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        (health,) = node.supervisor.health()
        assert (health.cycles, health.leaking_cycles, health.restart_due) == (1, 1, True)
        await outcome(node, restart(node, cycles=1))
        (health,) = node.supervisor.health()
        assert (health.cycles, health.leaking_cycles, health.restart_due) == (0, 0, False)

    play(tmp_path, scenario)
