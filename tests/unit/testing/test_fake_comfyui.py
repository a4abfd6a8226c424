"""The fake ComfyUI behaves as the real one: queue, history, files, memory."""

import asyncio
import os
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from cortex.testing.fake_comfyui import LARGEST_PIXELS, MODEL_BYTES, FakeComfyUi, png


def a_workflow(side: int = 64, count: int = 1, class_type: str = "PreviewImage", **save: object) -> dict[str, Any]:
    """Return the shortest one that makes images: the fake does not ask for what is between."""
    nodes = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": side, "height": side, "batch_size": count}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "7": {"class_type": class_type, "inputs": {"images": ["6", 0], **save}},
    }
    return nodes


class Scene:
    """The fake, and a client of it."""

    def __init__(self, fake: FakeComfyUi, session: aiohttp.ClientSession) -> None:
        self.fake = fake
        self.session = session

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            return await answer.json()

    async def post(self, path: str, body: object) -> int:
        async with self.session.post(path, json=body) as answer:
            return answer.status

    async def submit(self, workflow: dict[str, Any], **more: object) -> str:
        async with self.session.post("/prompt", json={"prompt": workflow, **more}) as answer:
            return str((await answer.json())["prompt_id"])

    async def run(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """Run a workflow; return its entry in the history."""
        prompt_id = await self.submit(workflow)
        await self.fake.until_idle()
        return dict((await self.get(f"/history/{prompt_id}"))[prompt_id])


def with_fake(test: Callable[[Scene], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        async with FakeComfyUi(**how) as fake, aiohttp.ClientSession(fake.url) as session:
            await test(Scene(fake, session))

    asyncio.run(run())


def test_a_workflow_waits_runs_and_is_history() -> None:
    async def test(scene: Scene) -> None:
        scene.fake.gate.clear()
        first = await scene.submit(a_workflow(), client_id="me", extra_data={"x": 1})
        await scene.fake.until_running()
        second = await scene.submit(a_workflow(72))
        queue = await scene.get("/queue")
        assert queue["queue_running"] == [[0, first, a_workflow(), {"x": 1, "client_id": "me"}, ["7"]]]
        assert queue["queue_pending"] == [[1, second, a_workflow(72), {}, ["7"]]]
        assert await scene.get("/history") == await scene.get(f"/history/{first}") == {}
        scene.fake.gate.set()
        await scene.fake.until_idle()
        assert list(await scene.get("/history")) == [first, second]
        entry = (await scene.get(f"/history/{first}"))[first]
        assert entry["status"]["status_str"] == "success"
        assert [name for name, _ in entry["status"]["messages"]] == ["execution_start", "execution_success"]

    with_fake(test)


def test_pictures_have_the_size_that_was_asked_for_and_are_found_by_name() -> None:
    async def test(scene: Scene) -> None:
        entry = await scene.run(a_workflow(80, 2, "SaveImage", filename_prefix="cats/c"))
        images = entry["outputs"]["7"]["images"]
        assert [(image["subfolder"], image["type"]) for image in images] == [("cats", "output")] * 2
        async with scene.session.get("/view", params=images[1]) as answer:
            content = await answer.read()
            assert answer.content_type == "image/png"
        assert struct.unpack(">II", content[16:24]) == (80, 80)

    with_fake(test)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": "none.png"}, 404),
        ({"filename": "../x.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "x.png", "type": "own"}, 400),
    ],
)
def test_other_files_are_not_shown(query: dict[str, str], status: int) -> None:
    async def test(scene: Scene) -> None:
        async with scene.session.get("/view", params=query) as answer:
            assert answer.status == status

    with_fake(test)


def test_the_same_again_is_not_made_again_until_memory_is_freed() -> None:
    async def test(scene: Scene) -> None:
        first, again = await scene.run(a_workflow()), await scene.run(a_workflow())
        assert first["outputs"] == again["outputs"]
        assert again["status"]["messages"][1][0] == "execution_cached"
        assert await scene.post("/free", {"unload_models": True, "free_memory": True}) == 200
        await scene.fake.until_idle()
        assert (await scene.run(a_workflow()))["outputs"] != first["outputs"]

    with_fake(test)


def test_memory_is_taken_by_a_workflow_and_freed_between_two() -> None:
    async def held(scene: Scene) -> int:
        (device,) = (await scene.get("/system_stats"))["devices"]
        assert device["vram_total"] - device["vram_free"] == device["torch_vram_total"]
        return int(device["torch_vram_total"])

    async def test(scene: Scene) -> None:
        assert await held(scene) == 0
        scene.fake.gate.clear()
        await scene.submit(a_workflow())
        await scene.fake.until_running()
        await scene.post("/free", {"unload_models": True, "free_memory": True})
        assert await held(scene) == MODEL_BYTES, "the workflow still runs"
        scene.fake.gate.set()
        await scene.fake.until_idle()
        assert await held(scene) == 0
        scene.fake.is_leaking = True
        await scene.run(a_workflow(72))
        await scene.post("/free", {"unload_models": True, "free_memory": True})
        await scene.fake.until_idle()
        assert (await held(scene), scene.fake.frees) == (MODEL_BYTES, 2)

    with_fake(test, device="cuda")


def test_what_does_not_fit_is_out_of_memory() -> None:
    async def test(scene: Scene) -> None:
        entry = await scene.run(a_workflow(4096, LARGEST_PIXELS // 4096**2 + 1))
        (name, told) = entry["status"]["messages"][-1]
        assert (name, told["exception_type"], entry["status"]["completed"]) == (
            "execution_error",
            "torch.OutOfMemoryError",
            False,
        )
        assert scene.fake.held_bytes == 0

    with_fake(test)


@pytest.mark.parametrize(
    ("is_old", "body", "stops"),
    [(False, {}, True), (False, {"prompt_id": "other"}, False), (True, {"prompt_id": "other"}, True)],
    ids=["all", "another's", "another's, of an old version"],
)
def test_an_interrupt_stops_what_it_names(is_old: bool, body: dict[str, str], stops: bool) -> None:
    async def test(scene: Scene) -> None:
        scene.fake.gate.clear()
        prompt_id = await scene.submit(a_workflow())
        await scene.fake.until_running()
        assert await scene.post("/interrupt", body) == 200
        scene.fake.gate.set()
        await scene.fake.until_idle()
        entry = (await scene.get(f"/history/{prompt_id}"))[prompt_id]
        assert (entry["status"]["messages"][-1][0] == "execution_interrupted") == stops
        assert scene.fake.interrupts == [prompt_id] * stops

    with_fake(test, is_old=is_old)


def test_what_waits_is_deleted_or_cleared() -> None:
    async def test(scene: Scene) -> None:
        scene.fake.gate.clear()
        ids = [await scene.submit(a_workflow(64 + 8 * n)) for n in range(4)]
        await scene.fake.until_running()
        await scene.post("/queue", {"delete": [ids[0], ids[2], "none"]})
        assert [item[1] for item in (await scene.get("/queue"))["queue_pending"]] == [ids[1], ids[3]]
        await scene.post("/queue", {"clear": True})
        scene.fake.gate.set()
        await scene.fake.until_idle()
        assert list(await scene.get("/history")) == [ids[0]]

    with_fake(test)


def test_a_workflow_that_is_wrong_is_not_taken() -> None:
    async def test(scene: Scene) -> None:
        assert await scene.post("/prompt", {"prompt": {}}) == 400
        assert scene.fake.prompts == []
        assert await scene.get("/object_info/None") == {}
        assert "KSampler" in await scene.get("/object_info")

    with_fake(test)


def test_a_restart_forgets_everything() -> None:
    async def test(scene: Scene) -> None:
        await scene.run(a_workflow())
        url = scene.fake.url
        await scene.fake.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await scene.get("/queue")
        await scene.fake.start()
        assert scene.fake.url == url
        assert (await scene.get("/history"), scene.fake.held_bytes) == ({}, 0)
        assert (await scene.run(a_workflow()))["status"]["completed"]

    with_fake(test)


def test_it_runs_as_a_program() -> None:
    async def run() -> None:
        argv = ("-m", "cortex.testing.fake_comfyui", "--port", "0", "--checkpoint", "a.ckpt", "--device", "cuda")
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, env=dict(os.environ), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().rpartition(" ")[2].strip()
            async with aiohttp.ClientSession(url) as session, session.get("/object_info") as answer:
                assert "a.ckpt" in await answer.text()
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0

    asyncio.run(run())


def test_a_picture_is_a_png() -> None:
    assert png(64, 32).startswith(b"\x89PNG\r\n\x1a\n")
    assert png(64, 32).endswith(b"IEND\xaeB`\x82")
