"""What is known of a ComfyUI that comes, goes, and comes back as another process."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.neuron.harness.builder import a_site

from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron import local_server as module
from cortex.neuron.images.comfy_server import ComfyServer
from cortex.neuron.settings import HarnessEntry
from cortex.testing.fake_comfyui import FakeComfyUi

GPUS = tuple(Device(index=n, name="RTX", vram_total_mb=8000, kind="cuda") for n in range(2))


def with_server(test: Callable[[FakeComfyUi, ComfyServer], Awaitable[None]], *, visible: str = "", **how: Any) -> None:
    async def run() -> None:
        http = HttpClient()
        async with FakeComfyUi(**how) as fake:
            entry = HarnessEntry(name="art", env={"CUDA_VISIBLE_DEVICES": visible} if visible else {})
            site = a_site(http=http, gpu_kinds=frozenset({"cuda"}), devices=GPUS)
            await test(fake, ComfyServer(entry, fake.url, site))
        await http.close()

    asyncio.run(run())


def test_it_is_known_once_it_has_answered() -> None:
    async def test(fake: FakeComfyUi, server: ComfyServer) -> None:
        await fake.stop()
        assert await server.look() is None
        assert (server.pid, server.device, server.kinds) == (0, None, {"cuda"})
        await fake.start()
        stats = await server.look()
        assert stats is not None
        assert (stats.version, server.pid, server.device) == ("0.3.60", os.getpid(), GPUS[1])
        assert server.kinds == {"cuda", "mig", "rocm"}
        await fake.stop()
        assert await server.look() is None
        assert (server.stats, server.device) == (stats, GPUS[1]), "what was seen stays"

    with_server(test, device="cuda", visible="1")


@pytest.mark.parametrize(("device", "kinds"), [("cpu", {"cpu"}), ("npu", {"cuda"})])
def test_its_device_is_of_its_kind(device: str, kinds: set[str]) -> None:
    async def test(_: FakeComfyUi, server: ComfyServer) -> None:
        await server.look()
        assert (server.kinds, server.device) == (kinds, None)

    with_server(test, device=device)


def test_a_process_that_is_gone_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, there = subprocess.Popen(["true"]), os.getpid()
    listeners = [gone.pid, there]
    monkeypatch.setattr(module, "occupant_pid", lambda _: listeners.pop(0))

    async def test(_: FakeComfyUi, server: ComfyServer) -> None:
        await server.look()
        assert server.pid == gone.pid
        gone.wait()
        for _ in range(2):
            await server.look()
            assert server.pid == there

    with_server(test)


def test_a_process_that_is_hidden_is_not_looked_for_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module, "occupant_pid", lambda port: asked.append(port) or 0)

    async def test(fake: FakeComfyUi, server: ComfyServer) -> None:
        for _ in range(3):
            await server.look()
        assert len(asked) == 1
        await fake.stop()
        await server.look()
        await fake.start()
        await server.look()
        assert len(asked) == 2, "it may be another one"

    with_server(test)
