"""The images server as a process: it serves until it is told to end, and says why it cannot."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from tests.port import free_port
from tests.unit.neuron.images.comfy_scene import with_comfy

from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.program import VARIABLE
from cortex.neuron.images.server import ImagesSettings
from cortex.neuron.images.workflow import read_workflow
from cortex.neuron.process.last_words import last_words
from cortex.testing.fake_comfyui import FakeComfyUi

HOST = "127.0.0.1"


def some_settings(fake: FakeComfyUi, **changes: Any) -> ImagesSettings:
    settings = ImagesSettings(
        host=HOST,
        port=free_port(),
        nonce="n1",
        model="lab/sdxl",
        comfy=fake.url,
        checkpoint="sdxl.safetensors",
        workflow=read_workflow(None),
    )
    return msgspec.structs.replace(settings, **changes)


async def started(settings: ImagesSettings, log: Path) -> asyncio.subprocess.Process:
    env = {**os.environ, VARIABLE: msgspec.json.encode(settings).decode()}
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "cortex.neuron.images", env=env, stdout=out, stderr=out
        )


async def until_it_serves(process: asyncio.subprocess.Process, url: str, session: aiohttp.ClientSession) -> None:
    while True:
        assert process.returncode is None
        try:
            async with session.get(url + "/health") as answer:
                assert answer.status == 200
                return
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0)


def test_it_serves_and_calls_off_what_runs_when_it_is_told_to_end(tmp_path: Path) -> None:
    async def test(fake: FakeComfyUi, _: Comfy) -> None:
        settings = some_settings(fake)
        url = f"http://{HOST}:{settings.port}/i/n1"
        process = await started(settings, tmp_path / "log")
        async with aiohttp.ClientSession() as session:
            try:
                await until_it_serves(process, url, session)
                fake.gate.clear()
                body = json.dumps({"prompt": "a cat"})
                request = asyncio.create_task(session.post(url + "/v1/images/generations", data=body))
                await fake.until_running()
            finally:
                process.send_signal(signal.SIGTERM)
                code = await process.wait()
            assert code == 0, (tmp_path / "log").read_text()
            assert len(fake.interrupts) == 1
            assert not fake.is_busy
            await asyncio.wait((request,))

    with_comfy(test)


def the_end_of(settings_of: Any, log: Path) -> str:
    """Return what a server that cannot serve says at its end."""

    async def test(fake: FakeComfyUi, _: Comfy) -> None:
        process = await started(settings_of(fake), log)
        assert await process.wait() == 1

    with_comfy(test)
    return log.read_text()


def test_without_comfyui_it_ends_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    words = the_end_of(lambda fake: some_settings(fake, comfy=f"http://{HOST}:{port}"), tmp_path / "log")
    assert last_words(words.splitlines()).cause.endswith("no connection: Connection refused")


def test_without_the_nodes_of_the_workflow_it_ends_and_names_them(tmp_path: Path) -> None:
    own = read_workflow('{"1": {"class_type": "FluxGuidance", "inputs": {"x": "${PROMPT}"}}}')
    words = the_end_of(lambda fake: some_settings(fake, workflow=own), tmp_path / "log")
    assert last_words(words.splitlines()).cause == "ComfyUI does not know the workflow's nodes: FluxGuidance"


def test_a_port_that_is_taken_is_told_from_other_failures(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        words = the_end_of(lambda fake: some_settings(fake, port=port), tmp_path / "log")
    assert last_words(words.splitlines()).is_port_taken
