"""Loads and unloads as callers ask for them, on a node whose engines do what the test says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import (
    CRASH,
    MODEL,
    FakeEngine,
    FakeHarness,
    FakeNode,
    FakeProbe,
    a_node,
    a_request,
)

from cortex.contract.error import CortexError, ModelNotFound, ShuttingDown
from cortex.contract.instance import LoadAnswer, LoadRequest, UnloadRequest
from cortex.neuron.harness.interface import Activity
from cortex.neuron.refusal import Busy, LoadedDifferently, NoRoom, NoSuchDevice, NotLoaded, SourceMissing

Scenario = Callable[[FakeNode], Awaitable[None]]


def play(tmp_path: Path, scenario: Scenario, *harnesses: FakeHarness, probe: FakeProbe | None = None) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *(harnesses or (FakeHarness(),)), probe=probe) as node:
            await scenario(node)

    asyncio.run(run())


def unload(node: FakeNode, model_id: str = MODEL, *, wait: bool = True, force: bool = False) -> asyncio.Task:
    return asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=model_id, wait=wait, force=force)))


async def refusal_of(call: Awaitable[object]) -> CortexError:
    with pytest.raises(CortexError) as refused:
        await call
    return refused.value


def test_a_load_is_answered_before_the_engine_serves(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.starts.append(engine := FakeEngine())
        answer = await node.supervisor.load(a_request())
        assert answer == LoadAnswer(status="loading", generation=1)
        assert node.status() == "loading"
        engine.serves.set()
        await node.until(MODEL, "loaded")
        (report,) = node.supervisor.reports()
        assert (report.id, report.harness, report.kind, report.devices) == (MODEL, "fake", "fake", (0,))
        assert (report.generation, report.declared_mb, report.parallel, report.port) == (1, 100, 4, 9000)

    play(tmp_path, scenario)


def test_an_estimate_is_told_as_one(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert (await node.supervisor.load(a_request(vram_mb=None))).estimated_mb == 60
        assert (await node.supervisor.load(a_request("other"))).estimated_mb is None

    play(tmp_path, scenario)


def test_loads_of_one_model_at_once_start_one_engine(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.prepare_gate.clear()
        loads = [asyncio.create_task(node.supervisor.load(a_request())) for _ in range(5)]
        await node.harness.is_preparing.wait()
        node.harness.prepare_gate.set()
        answers = await asyncio.gather(*loads)
        assert {(answer.status, answer.generation) for answer in answers} == {("loading", 1)}
        await node.until(MODEL, "loaded")
        assert len(node.harness.launches) == 1
        assert await node.supervisor.load(a_request()) == LoadAnswer(status="loaded", generation=1)

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "other",
    [{"quant": "Q4_0"}, {"source": "/b.gguf"}, {"devices": (1,)}, {"devices": (0, 1)}, {"tensor_parallel": 2}],
    ids=str,
)
def test_a_load_that_wants_it_otherwise_is_refused_and_changes_nothing(tmp_path: Path, other: dict) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(quant="Q8_0", source="/a.gguf", devices=(0,))
        refusal = await refusal_of(node.supervisor.load(a_request(**other)))
        assert isinstance(refusal, LoadedDifferently)
        assert "unload it first" in refusal.message
        assert node.status() == "loaded"

    play(tmp_path, scenario, probe=FakeProbe((1000, 1000)))


def test_a_load_joins_as_far_as_it_says_what_it_wants(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(quant="Q8_0", devices=(1, 0))
        for same in ({}, {"quant": "Q8_0"}, {"devices": (0, 1)}, {"tensor_parallel": 2}, {"harness": "fake"}):
            assert (await node.supervisor.load(a_request(**same))).status == "loaded"

    play(tmp_path, scenario, probe=FakeProbe((1000, 1000)))


def test_a_harness_is_meant_by_its_name_before_its_kind(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        first, second = node.harnesses
        await node.load("by-kind", harness="engine")
        await node.load("by-name", harness="fake")
        assert [launch.request.model_id for launch in first.launches] == ["by-kind"]
        assert [launch.request.model_id for launch in second.launches] == ["by-name"]

    play(tmp_path, scenario, FakeHarness("old", kind="engine"), FakeHarness("fake", kind="engine"))


def test_what_the_harness_refuses_leaves_no_trace(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.refusal = SourceMissing("no such file")
        assert isinstance(await refusal_of(node.supervisor.load(a_request())), SourceMissing)
        assert (node.supervisor.reports(), node.booked(), node.state.records()) == ([], ([], []), ())

    play(tmp_path, scenario)


def test_without_devices_the_emptiest_are_chosen(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("a", vram_mb=100)
        await node.load("b", vram_mb=100)
        await node.load("c", vram_mb=1500)
        await node.load("d", vram_mb=100, devices=())
        devices = {report.id: report.devices for report in node.supervisor.reports()}
        assert (devices["a"], devices["b"], devices["c"]) == ((1,), (0,), (0, 1))
        assert len(devices["d"]) == 1

    play(tmp_path, scenario, probe=FakeProbe((1000, 1050)))


def test_the_estimate_is_made_for_as_many_devices_as_are_taken(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert (await node.supervisor.load(a_request(vram_mb=None))).estimated_mb == 70

    play(tmp_path, scenario, probe=FakeProbe((55, 55)))


def test_tensor_parallel_says_how_many_devices(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("a", tensor_parallel=2)
        assert node.harness.launches[0].ordinals == (0, 1)
        refusal = await refusal_of(node.supervisor.load(a_request("b", tensor_parallel=3)))
        assert isinstance(refusal, NoSuchDevice)
        assert "not 3 devices that harness 'fake' can use" in refusal.message

    play(tmp_path, scenario, probe=FakeProbe((1000, 1000)))


def test_a_device_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        refusal = await refusal_of(node.supervisor.load(a_request(devices=(0, 4))))
        assert isinstance(refusal, NoSuchDevice)
        assert refusal.message == "device 4 does not exist; this node has: 0 (cuda device)"

    play(tmp_path, scenario)


def test_of_two_loads_racing_for_the_same_memory_one_is_refused(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        requests = [a_request("a", vram_mb=600), a_request("b", vram_mb=600)]
        outcomes = await asyncio.gather(*map(node.supervisor.load, requests), return_exceptions=True)
        (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, NoRoom)]
        assert [outcome.status for outcome in outcomes if isinstance(outcome, LoadAnswer)] == ["loading"]
        assert refusal.details["devices"] == [
            {"index": 0, "need_mb": 600, "free_mb": 400, "missing_mb": 200, "evictable_mb": 0, "total_mb": 1000}
        ]
        assert len(node.harness.launches) <= 1

    play(tmp_path, scenario)


def test_room_is_judged_by_a_sample_no_older_than_a_second(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.probe.uses = {0: {1: 950}}
        node.clock.advance(2)
        assert isinstance(await refusal_of(node.supervisor.load(a_request())), NoRoom)

    play(tmp_path, scenario)


def test_a_failed_load_gives_its_memory_back_and_can_be_tried_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.starts.append(CRASH)
        await node.load(vram_mb=900)
        (report,) = node.supervisor.reports()
        assert (report.status, report.error) == ("failed", CRASH.error)
        answer = await node.supervisor.load(a_request(vram_mb=900))
        assert answer.generation == 2
        await node.until(MODEL, "loaded")
        (report,) = node.supervisor.reports()
        assert report.error is None

    play(tmp_path, scenario)


def test_a_load_waits_until_a_crashed_engines_memory_is_back(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(vram_mb=900)
        engine = node.harness.engines[0]
        node.probe.uses = {0: {engine.handle.pid: 900}}
        engine.crash()
        await node.until(MODEL, "failed")
        load = asyncio.create_task(node.supervisor.load(a_request(vram_mb=900)))
        await node.clock.until_asleep()
        assert not load.done()
        node.probe.uses = {}
        await node.let_pass(load.done)
        assert load.result().generation == 2

    play(tmp_path, scenario)


def test_a_disk_that_cannot_be_written_refuses_the_load_and_reserves_nothing(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        folder = node.state.path / "engine"
        folder.rmdir()
        refusal = await refusal_of(node.supervisor.load(a_request()))
        assert refusal.message.startswith(f"the state directory cannot be written: {folder}")
        assert refusal.message.endswith(": No such file or directory")
        assert (node.booked(), node.supervisor.reports()) == (([], []), [])
        folder.mkdir()
        await node.load()

    play(tmp_path, scenario)


def test_an_intent_is_written_before_the_engine_is_started(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.start_gate.clear()
        await node.supervisor.load(a_request(quant="Q8_0"))
        (record,) = node.state.records()
        assert (record.handle.pid, record.request.quant, record.generation) == (0, "Q8_0", 1)
        await node.let_pass(lambda: bool(node.harness.launches))
        assert node.harness.launches[0].nonce == record.nonce

    play(tmp_path, scenario)


def test_a_bare_load_of_a_model_that_was_loaded_before_loads_it_as_then(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(quant="Q8_0", source="/a.gguf", context=2048)
        await node.let_pass(unload(node).done)
        await node.supervisor.load(LoadRequest(model_id=MODEL, harness="fake"))
        await node.until(MODEL, "loaded")
        first, second = node.harness.launches
        assert second.request == first.request
        assert (first.generation, second.generation) == (1, 2)

    play(tmp_path, scenario)


def test_an_unload_ends_the_engine_and_the_model_stays_known(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        unloading = unload(node)
        await node.let_pass(unloading.done)
        assert unloading.result().status == "unloaded"
        (report,) = node.supervisor.reports()
        assert (report.status, report.devices, report.declared_mb, report.port) == ("unloaded", (), None, None)
        assert report.unload_reason == "request"
        assert node.supervisor.health()[0].cycles == 1
        assert (await unload(node)).status == "unloaded"

    play(tmp_path, scenario)


def test_an_unload_that_does_not_wait_is_answered_with_draining(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        assert (await unload(node, wait=False)).status == "draining"
        assert node.status() == "draining"
        await node.until(MODEL, "unloaded")

    play(tmp_path, scenario)


def test_unloading_what_is_not_known_is_refused(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert isinstance(await refusal_of(unload(node, "what")), ModelNotFound)

    play(tmp_path, scenario)


def test_a_busy_model_stays_unless_it_is_forced(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        unloading = unload(node)
        await node.let_pass(unloading.done)
        assert isinstance(unloading.exception(), Busy)
        assert node.status() == "loaded"
        assert node.supervisor.reports()[0].unload_reason is None
        forced = unload(node, force=True)
        await node.let_pass(forced.done)
        assert forced.result().status == "unloaded"

    play(tmp_path, scenario)


def test_a_caller_that_leaves_does_not_stop_the_unload_for_others(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        first, second = unload(node), unload(node)
        await node.clock.until_asleep()
        first.cancel()
        node.harness.engines[0].activity_now = Activity(in_flight=0, work=1)
        await node.let_pass(second.done)
        assert second.result().status == "unloaded"

    play(tmp_path, scenario)


def test_an_unload_while_a_load_is_prepared_calls_it_off(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        await node.let_pass(unload(node).done)
        node.harness.prepare_gate.clear()
        node.harness.is_preparing.clear()
        loading = asyncio.create_task(node.supervisor.load(a_request()))
        await node.harness.is_preparing.wait()
        unloading = unload(node)
        node.harness.prepare_gate.set()
        await node.let_pass(unloading.done)
        assert (loading.result().status, unloading.result().status) == ("loading", "unloaded")
        assert (node.status(), node.booked()) == ("unloaded", ([], []))
        assert node.supervisor.reports()[0].unload_reason == "request"
        await node.load()
        assert node.supervisor.reports()[0].unload_reason is None

    play(tmp_path, scenario)


def test_an_unload_puts_a_failure_away(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.starts.append(CRASH)
        await node.load()
        assert (await unload(node)).status == "unloaded"
        (report,) = node.supervisor.reports()
        assert (report.status, report.error) == ("unloaded", None)

    play(tmp_path, scenario)


def test_a_model_that_drains_is_neither_loaded_nor_reached(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        unloading = unload(node)
        await node.until(MODEL, "draining")
        load = await refusal_of(node.supervisor.load(a_request()))
        assert isinstance(load, Busy)
        assert load.details == {"status": "draining", "retry_in_s": 2.0}
        with pytest.raises(NotLoaded) as reach:
            node.supervisor.reach(MODEL)
        assert reach.value.details == {"status": "draining"}
        node.harness.engines[0].activity_now = Activity(in_flight=0, work=1)
        await node.let_pass(unloading.done)

    play(tmp_path, scenario)


def test_a_loaded_model_is_reached_under_its_generations_fence(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        reach, launch, engine = node.supervisor.reach(MODEL), node.harness.launches[0], node.harness.engines[0]
        assert reach == ("fake", engine.handle.url, 1, "m", launch.nonce, None, node.harness.kind, None)
        assert node.supervisor.route(launch.nonce) == engine.handle.url
        assert node.supervisor.route("other") is None
        engine.activity_now = Activity(in_flight=1, work=1)
        unloading = unload(node)
        await node.until(MODEL, "draining")
        assert node.supervisor.route(launch.nonce) is None, "what comes now would be cut"
        await node.let_pass(unloading.done)
        assert node.supervisor.route(launch.nonce) == engine.handle.url, "it has stayed"
        assert isinstance(unloading.exception(), Busy)
        engine.crash()
        await node.let_pass(lambda: node.booked() == ([], []))
        assert node.supervisor.route(launch.nonce) is None
        with pytest.raises(ModelNotFound):
            node.supervisor.reach("other")

    play(tmp_path, scenario)


def test_a_sample_shows_what_engines_use_and_do(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        engine = node.harness.engines[0]
        node.probe.uses = {0: {engine.handle.pid: 130, 1: 70}}
        engine.activity_now = Activity(in_flight=2, work=1)
        await node.sampler.refresh()
        node.supervisor.sampled()
        await node.let_pass(lambda: node.supervisor.reports()[0].in_flight == 2)
        assert node.supervisor.reports()[0].vram_used_mb == 130
        assert node.admission.strangers_mb(0) == 70

    play(tmp_path, scenario)


def test_the_log_of_the_newest_life_is_told(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.launches[0].log.write_text("one\ntwo\nthree\n")
        assert node.supervisor.log_tail(MODEL, 2) == ("two", "three")
        with pytest.raises(ModelNotFound):
            node.supervisor.log_tail("other", 2)

    play(tmp_path, scenario)


def test_a_stop_that_keeps_engines_lets_them_go(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        await node.supervisor.stop(keep_engines=True)
        (engine,) = node.harness.engines
        assert (engine.is_let_go, engine.stops) == (True, 0)
        assert len(node.state.records()) == 1

    play(tmp_path, scenario)


def test_a_stop_that_ends_engines_drains_them_first(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("idle")
        await node.load("busy")
        node.harness.engines[1].activity_now = Activity(in_flight=1, work=1)
        begin_s = node.clock.now_s()
        stopping = asyncio.create_task(node.supervisor.stop(keep_engines=False))
        await node.until("idle", "unloaded")
        assert node.status("busy") == "draining"
        assert isinstance(await refusal_of(node.supervisor.load(a_request("other"))), ShuttingDown)
        await node.let_pass(stopping.done)
        assert [engine.stops for engine in node.harness.engines] == [1, 1]
        assert node.clock.now_s() - begin_s >= 5
        assert (node.booked(), node.state.records()) == (([], []), ())

    play(tmp_path, scenario)


def test_a_stop_in_a_hurry_cuts_what_still_runs(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        begin_s = node.clock.now_s()
        stopping = asyncio.create_task(node.supervisor.stop(keep_engines=False))
        await node.clock.until_asleep()
        node.supervisor.hurry()
        await node.let_pass(stopping.done)
        assert node.clock.now_s() - begin_s < 1

    play(tmp_path, scenario)


def test_a_stop_does_not_wait_for_an_engine_that_never_ends(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        node.harness.engines[0].is_stubborn = True
        stopping = asyncio.create_task(node.supervisor.stop(keep_engines=False))
        await node.let_pass(stopping.done)
        assert (node.status(), len(node.state.records())) == ("failed", 1)

    play(tmp_path, scenario)


def test_every_change_counts_as_an_event(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        seen = [node.events.event]
        await node.load()
        seen.append(node.events.event)
        await node.let_pass(unload(node).done)
        seen.append(node.events.event)
        assert seen == sorted(set(seen))

    play(tmp_path, scenario)
