"""Engines of an earlier neuron: gone on with, or ended. Those that are ended are real processes here."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeEngine, FakeHarness, FakeNode, a_node, a_request

from cortex.neuron.adoption import NONCE_VARIABLE, find_engines
from cortex.neuron.process.child import Child, spawn
from cortex.neuron.state_dir import Handle, Record

Scenario = Callable[[FakeNode], Awaitable[None]]


def play(tmp_path: Path, scenario: Scenario) -> None:
    async def run() -> None:
        async with a_node(tmp_path) as node:
            await scenario(node)

    asyncio.run(run())


def a_record(generation: int = 5, model_id: str = MODEL, handle: Handle | None = None, **more: object) -> Record:
    fields = {
        "model_id": model_id,
        "harness": "fake",
        "generation": generation,
        "nonce": f"nonce-{generation}",
        "devices": (0,),
        "need_mb": 300,
        "is_estimate": False,
        "parallel": 2,
        "request": a_request(model_id),
        "handle": handle or Handle(),
    }
    return Record(**{**fields, **more})  # type: ignore[arg-type]


def an_engine_of(node: FakeNode, pid: int) -> FakeEngine:
    engine = FakeEngine(pid)
    engine.serves.set()
    node.harness.engines.append(engine)
    return engine


def a_process(tmp_path: Path, nonce: str = "other", log: Path | None = None) -> Child:
    """Start a process that waits for ever, and return when it runs: only then its environment can be read."""
    os.mkfifo(pipe := tmp_path / nonce)
    env = {"PATH": os.environ["PATH"], NONCE_VARIABLE: nonce}
    child = spawn(["sh", "-c", f"read -r line <> {pipe}"], env, log or tmp_path / "log", is_tethered=True)
    os.close(os.open(pipe, os.O_WRONLY))  # waits for the shell to open it
    return child


def test_a_running_engine_is_gone_on_with_as_it_was(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        engine = an_engine_of(node, pid=77)
        node.state.write_record(a_record(handle=engine.handle))
        (found,) = await find_engines(node.state, node.harnesses)
        await node.supervisor.adopt([found])
        (report,) = node.supervisor.reports()
        assert (report.id, report.status, report.generation, report.devices) == (MODEL, "loaded", 5, (0,))
        assert (report.declared_mb, report.parallel) == (300, 2)
        assert node.booked() == ([], [MODEL])
        assert node.supervisor.route("nonce-5") == engine.handle.url
        assert node.harness.launches == []
        assert len(node.state.records()) == 1
        await node.let_pass(asyncio.create_task(node.supervisor.stop(keep_engines=False)).done)
        assert engine.stops == 1
        assert node.state.records() == ()

    play(tmp_path, scenario)


def test_an_engine_of_a_server_whose_process_nobody_knows_is_gone_on_with(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        engine = an_engine_of(node, pid=0)
        node.state.write_record(a_record(handle=engine.handle))
        (found,) = await find_engines(node.state, node.harnesses)
        assert found.engine is engine

    play(tmp_path, scenario)


def test_an_engine_on_a_gpu_whose_driver_is_late_is_waited_for_under_its_old_number(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        engine = an_engine_of(node, pid=77)
        node.state.write_record(a_record(handle=engine.handle, devices=(3,), device_uuids=("GPU-late",)))
        (found,) = await find_engines(node.state, node.harnesses)
        await node.supervisor.adopt([found])
        (report,) = node.supervisor.reports()
        assert (report.status, report.devices) == ("loaded", (3,))
        assert node.admission.declared_mb(MODEL) == {3: 300}
        (record,) = node.state.records()
        assert (record.devices, record.device_uuids) == ((3,), ("GPU-late",)), "nor does the next restart forget it"

    play(tmp_path, scenario)


def test_an_engine_that_still_loads_is_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.neuron.supervisor.ADOPTION_WAIT_S", 0.01)

    async def scenario(node: FakeNode) -> None:
        engine = an_engine_of(node, pid=77)
        engine.serves.clear()
        node.state.write_record(a_record(handle=engine.handle))
        await node.supervisor.adopt(await find_engines(node.state, node.harnesses))
        assert node.status() == "loading"
        engine.serves.set()
        await node.until(MODEL, "loaded")

    play(tmp_path, scenario)


def test_a_later_load_gets_a_later_generation(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        engine = an_engine_of(node, pid=77)
        node.state.write_record(a_record(generation=5, handle=engine.handle))
        await node.supervisor.adopt(await find_engines(node.state, node.harnesses))
        assert (await node.supervisor.load(a_request("other"))).generation == 6

    play(tmp_path, scenario)


def test_a_record_without_an_engine_is_forgotten(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.state.write_record(a_record(handle=Handle(pid=1 << 23, start_ticks=1)))
        node.state.write_record(a_record(generation=6))
        assert await find_engines(node.state, node.harnesses) == []
        assert node.state.records() == ()

    play(tmp_path, scenario)


def test_an_engine_without_its_harness_is_ended(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        process = a_process(tmp_path)
        handle = Handle(pid=process.pid, start_ticks=process.start_ticks)
        node.state.write_record(a_record(harness="removed", handle=handle))
        assert await find_engines(node.state, node.harnesses) == []
        await process.wait()
        assert node.state.records() == ()

    play(tmp_path, scenario)


def test_an_engine_whose_pid_was_never_written_down_is_found_by_its_nonce_and_ended(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        process = a_process(tmp_path, "nonce-5")
        node.state.write_record(a_record())
        assert await find_engines(node.state, node.harnesses) == []
        await process.wait()
        assert node.state.records() == ()

    play(tmp_path, scenario)


def test_a_process_that_only_has_the_number_of_an_engine_is_left_alone(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        process = a_process(tmp_path)
        handle = Handle(pid=process.pid, start_ticks=process.start_ticks - 1)
        node.state.write_record(a_record(harness="removed", handle=handle))
        await find_engines(node.state, node.harnesses)
        assert process.is_running
        assert node.state.records() == ()
        await process.stop(1.0)

    play(tmp_path, scenario)


def test_of_two_engines_with_one_model_the_younger_goes_on(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        process = a_process(tmp_path)
        younger = an_engine_of(node, pid=77)
        handle = Handle(pid=process.pid, start_ticks=process.start_ticks)
        node.state.write_record(a_record(generation=5, handle=handle))
        node.state.write_record(a_record(generation=6, handle=younger.handle))
        (found,) = await find_engines(node.state, node.harnesses)
        assert found.record.generation == 6
        await process.wait()
        assert [record.generation for record in node.state.records()] == [6]

    play(tmp_path, scenario)


def test_engines_come_back_in_the_order_of_their_generations(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        for generation in (3, 1, 2):
            engine = an_engine_of(node, pid=70 + generation)
            node.state.write_record(a_record(generation, f"m{generation}", engine.handle))
        found = await find_engines(node.state, (FakeHarness("unrelated"), *node.harnesses))
        assert [engine.record.generation for engine in found] == [1, 2, 3]

    play(tmp_path, scenario)


def test_a_server_that_several_models_share_is_never_ended_for_the_record_of_one(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        server = a_process(tmp_path)
        handle = Handle(pid=server.pid, start_ticks=server.start_ticks, is_shared=True)
        node.state.write_record(a_record(handle=handle))
        node.state.write_record(a_record(6, "other", handle=handle, harness="gone"))
        assert await find_engines(node.state, node.harnesses) == []
        assert node.state.records() == ()
        assert server.is_running
        await server.stop(0)

    play(tmp_path, scenario)


def test_an_engine_whose_record_cannot_be_read_is_ended_by_the_log_that_it_writes(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        torn = a_process(tmp_path, "torn", node.state.log_path(MODEL, 5))
        elsewhere = a_process(tmp_path, "elsewhere")
        try:
            node.state.write_record(a_record())
            (node.state.path / "engine" / "5.json").write_bytes(b"")
            assert await find_engines(node.state, node.harnesses) == []
            await torn.wait()
            assert elsewhere.is_running, "it may be another neuron's"
        finally:
            for child in (torn, elsewhere):
                await child.stop(0)

    play(tmp_path, scenario)


def test_an_engine_that_goes_on_is_not_ended_for_the_log_that_it_writes(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        child = a_process(tmp_path, "nonce-5", node.state.log_path(MODEL, 5))
        try:
            engine = an_engine_of(node, pid=child.pid)
            node.state.write_record(a_record(handle=engine.handle))
            (found,) = await find_engines(node.state, node.harnesses)
            assert found.engine is engine
            assert child.is_running
        finally:
            await child.stop(0)

    play(tmp_path, scenario)
