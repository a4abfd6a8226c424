"""The memory behind an images server: freed when it stops, whatever became of the process before."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.harness.builder import a_launch, a_site
from tests.unit.neuron.images.comfy_scene import a_workflow, with_comfy

from cortex.neuron.images import engine as module
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.engine import ComfyEngine
from cortex.neuron.process_engine import EngineKind, PathQuestions, ProcessEngine
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.settings import HarnessEntry
from cortex.residency.backoff import Backoff
from cortex.testing.fake_comfyui import FakeComfyUi

NAME = "cortex-1"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", Backoff(first_s=0.001, limit_s=0.001, factor=1))


def with_engine(
    tmp_path: Path, test: Callable[[FakeComfyUi, Comfy, ComfyEngine], Awaitable[None]], device: str = "cuda"
) -> None:
    os.mkfifo(tmp_path / "fifo")
    waits = ("/bin/sh", "-c", f"read -r line <> {tmp_path}/fifo")

    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        host = ProcessHost(HarnessEntry(name="x"), a_site(is_tethered=False), EngineKind("it", PathQuestions()))
        started = host.start(a_launch(log=tmp_path / "log"), lambda _: Command(waits, "m"))
        assert isinstance(started, ProcessEngine)
        await test(fake, comfy, ComfyEngine(started, comfy, NAME, lambda: 42))
        assert (await started.exited()).error

    with_comfy(run, device=device)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_stop_frees_the_memory(tmp_path: Path, device: str) -> None:
    async def test(fake: FakeComfyUi, comfy: Comfy, engine: ComfyEngine) -> None:
        await comfy.run(a_workflow(), NAME)
        assert fake.held_bytes > 0
        assert await engine.stop(0)
        await fake.until_idle()
        assert (fake.held_bytes, fake.frees) == (0, 1)

    with_engine(tmp_path, test, device)


def test_its_memory_is_comfyuis(tmp_path: Path) -> None:
    async def test(_: FakeComfyUi, __: Comfy, engine: ComfyEngine) -> None:
        assert engine.handle.holder_pid == 42 != engine.handle.pid
        assert await engine.stop(0)

    with_engine(tmp_path, test)


def test_a_stop_is_over_when_the_memory_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FREE_WAIT_S", 0.1)

    async def test(fake: FakeComfyUi, comfy: Comfy, engine: ComfyEngine) -> None:
        fake.gate.clear()
        other = asyncio.create_task(comfy.run(a_workflow(), "other"))
        await fake.until_running()
        stopping = asyncio.create_task(engine.stop(0))
        await engine.exited()
        while not fake.is_told_to_free:
            await fake.until_changed()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopping), 0.5)
        assert not stopping.done(), "another model's workflow still runs"
        fake.gate.set()
        assert await stopping
        assert fake.held_bytes == 0
        assert await other, "and was not disturbed"

    with_engine(tmp_path, test)


def test_what_a_killed_server_left_running_is_called_off(tmp_path: Path) -> None:
    async def test(fake: FakeComfyUi, comfy: Comfy, engine: ComfyEngine) -> None:
        fake.gate.clear()
        running = asyncio.create_task(comfy.run(a_workflow(), NAME))
        await fake.until_running()
        os.kill(engine.handle.pid, signal.SIGKILL)
        await engine.exited()
        assert await engine.stop(0)
        assert len(fake.interrupts) == 1
        await asyncio.wait((running,))
        assert running.exception() is not None

    with_engine(tmp_path, test)


def test_memory_that_does_not_come_back_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FREE_WAIT_S", 0.1)

    async def test(fake: FakeComfyUi, comfy: Comfy, engine: ComfyEngine) -> None:
        fake.is_leaking = True
        await comfy.run(a_workflow(), NAME)
        assert await engine.stop(0)

    with caplog.at_level(logging.WARNING):
        with_engine(tmp_path, test)
    assert "ComfyUI has not given its memory back" in caplog.text


def test_a_workflow_that_runs_for_very_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FREE_WAIT_S", 0.1)
    monkeypatch.setattr(module, "BUSY_WAIT_S", 0.3)

    async def test(fake: FakeComfyUi, comfy: Comfy, engine: ComfyEngine) -> None:
        fake.gate.clear()
        other = asyncio.create_task(comfy.run(a_workflow(), "other"))
        await fake.until_running()
        assert await engine.stop(0)
        fake.gate.set()
        assert await other

    with caplog.at_level(logging.WARNING):
        with_engine(tmp_path, test)
    assert "ComfyUI has not given its memory back" in caplog.text


def test_a_comfyui_that_is_gone_holds_no_stop_up(tmp_path: Path) -> None:
    async def test(fake: FakeComfyUi, _: Comfy, engine: ComfyEngine) -> None:
        await fake.stop()
        assert await engine.stop(0)

    with_engine(tmp_path, test)
