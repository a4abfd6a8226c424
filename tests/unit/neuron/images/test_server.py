"""OpenAI's images API over a ComfyUI: what comes back, what is refused and how, what a client that leaves stops."""

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.request import urlopen

import aiohttp
import pytest

from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.kit.serving import serving
from cortex.neuron.images import comfy as comfy_module
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.server import MAX_BODY_BYTES, ImagesServer, ImagesSettings
from cortex.neuron.images.workflow import read_workflow
from cortex.residency.backoff import Backoff
from cortex.testing.fake_comfyui import FakeComfyUi, png
from cortex.testing.virtual_clock import VirtualClock

SEEDED = """{
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "${CHECKPOINT}"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "photo, ${PROMPT}", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "${NEGATIVE_PROMPT=blurry}", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": "${WIDTH=512}", "height": 768, "batch_size": 1}},
    "5": {"class_type": "KSampler", "inputs": {
        "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], "seed": "${SEED}",
        "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x/y"}}
}"""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfy_module, "POLL", Backoff(first_s=0.001, limit_s=0.001, factor=1))


class Scene:
    """One images server before a fake ComfyUI, and a client."""

    def __init__(self, fake: FakeComfyUi, session: aiohttp.ClientSession, url: str) -> None:
        self.fake = fake
        self.session = session
        self.url = url

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, **more) as response:
            return response.status, await response.json()

    async def generate(self, **said: object) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/images/generations", json={"prompt": "a cat", **said})

    async def in_flight(self) -> int:
        return (await self.ask("GET", "/activity"))[1]["in_flight"]

    def inputs(self, number: int, node: str) -> dict[str, Any]:
        """Return what a workflow said at a node."""
        return self.fake.prompts[number][node]["inputs"]


def with_server(
    test: Callable[[Scene], Awaitable[None]], *, workflow: str | None = None, checkpoint: str = "sdxl.safetensors"
) -> None:
    async def run() -> None:
        http = HttpClient()
        async with FakeComfyUi() as fake:
            settings = ImagesSettings(
                host="127.0.0.1",
                port=0,
                nonce="n1",
                model="lab/sdxl",
                comfy=fake.url,
                checkpoint=checkpoint,
                workflow=read_workflow(workflow),
            )
            server = ImagesServer(settings, Comfy(fake.url, http), VirtualClock(epoch_s=1000.5))
            async with (
                serving(server.app, bind("127.0.0.1", 0), grace_s=1) as served,
                aiohttp.ClientSession() as session,
            ):
                scene = Scene(fake, session, f"http://127.0.0.1:{served.port}/i/n1")
                await test(scene)
                assert await scene.in_flight() == 0
        await http.close()

    asyncio.run(run())


def test_an_image_comes_as_base64() -> None:
    async def test(scene: Scene) -> None:
        status, body = await scene.generate(model="lab/sdxl", size="64x128", response_format="b64_json")
        assert (status, body["created"]) == (200, 1000)
        assert [base64.b64decode(image["b64_json"]) for image in body["data"]] == [png(64, 128)]

    with_server(test)


def test_an_image_comes_as_a_url_that_whoever_has_it_can_open() -> None:
    async def test(scene: Scene) -> None:
        _, body = await scene.generate(size="64x64", response_format="url", n=2)
        for image in body["data"]:
            with await asyncio.to_thread(urlopen, image["url"]) as answer:
                assert (answer.read(), answer.headers["content-type"]) == (png(64, 64), "image/png")
        assert len(body["data"]) == 2

    with_server(test)


def test_what_is_asked_for_reaches_the_workflow() -> None:
    async def test(scene: Scene) -> None:
        said = {"n": 3, "size": "64x128", "seed": 5, "negative_prompt": "dogs", "user": "me", "quality": "hd"}
        status, body = await scene.generate(**said)
        assert (status, len(body["data"]), len(scene.fake.prompts)) == (200, 3, 1)
        assert scene.inputs(0, "1") == {"ckpt_name": "sdxl.safetensors"}
        assert scene.inputs(0, "2")["text"] == "a cat"
        assert scene.inputs(0, "3")["text"] == "dogs"
        assert scene.inputs(0, "4") == {"width": 64, "height": 128, "batch_size": 3}
        assert scene.inputs(0, "5")["seed"] == 5

    with_server(test)


def test_what_is_not_asked_for_is_as_usual() -> None:
    async def test(scene: Scene) -> None:
        assert (await scene.generate())[0] == 200
        assert scene.inputs(0, "3")["text"] == ""
        assert scene.inputs(0, "4") == {"width": 1024, "height": 1024, "batch_size": 1}
        await scene.generate()
        seeds = {scene.inputs(n, "5")["seed"] for n in range(2)}
        assert len(seeds) == 2, "each request has a seed of its own"

    with_server(test)


def test_a_workflow_without_batches_runs_once_for_each_image_with_seeds_in_a_row() -> None:
    async def test(scene: Scene) -> None:
        _, body = await scene.generate(n=3, seed=2**63 - 2)
        assert len(body["data"]) == 3
        assert [scene.inputs(n, "5")["seed"] for n in range(3)] == [2**63 - 2, 2**63 - 1, 0]
        assert scene.inputs(0, "2")["text"] == "photo, a cat"
        assert scene.inputs(0, "3")["text"] == "blurry"
        assert scene.inputs(0, "4")["width"] == 512

    with_server(test, workflow=SEEDED)


def error_of(answer: tuple[int, Any]) -> tuple[int, str, str, str | None]:
    error = answer[1]["error"]
    return answer[0], error["type"], error["code"], error["param"]


def test_a_wrong_request_is_refused_as_openai_does() -> None:
    async def test(scene: Scene) -> None:
        bad = (400, "invalid_request_error", "malformed_request")
        assert error_of(await scene.generate(size="1x1")) == (*bad, "size")
        assert error_of(await scene.generate(n=99)) == (*bad, "n")
        assert error_of(await scene.ask("POST", "/v1/images/generations", data=b"{")) == (*bad, None)
        answer = await scene.generate(model="other")
        assert error_of(answer) == (404, "invalid_request_error", "model_not_found", "model")
        assert scene.fake.prompts == []

    with_server(test)


def test_a_body_that_is_too_large_is_refused() -> None:
    async def test(scene: Scene) -> None:
        body = json.dumps({"prompt": "a", "x": "y" * MAX_BODY_BYTES}).encode()
        answer = await scene.ask("POST", "/v1/images/generations", data=io.BytesIO(body))
        assert error_of(answer)[:3] == (413, "invalid_request_error", "body_too_large")

    with_server(test)


def test_other_paths_are_not_there() -> None:
    async def test(scene: Scene) -> None:
        assert (await scene.ask("POST", "/v1/images/edits"))[0] == 404
        assert (await scene.ask("GET", "/v1/images/generations"))[0] == 405
        scene.url = scene.url.removesuffix("n1") + "n2"
        assert error_of(await scene.generate())[0] == 404, "another generation's"
        assert scene.fake.prompts == []
        scene.url = scene.url.removesuffix("n2") + "n1"

    with_server(test)


def test_a_workflow_that_comfyui_does_not_take_is_told_at_its_node() -> None:
    async def test(scene: Scene) -> None:
        answer = await scene.generate()
        assert error_of(answer) == (400, "invalid_request_error", "workflow_rejected", None)
        assert "CheckpointLoaderSimple: Value not in list" in answer[1]["error"]["message"]

    with_server(test, checkpoint="gone.safetensors")


def test_a_gpu_that_is_too_small_is_told() -> None:
    async def test(scene: Scene) -> None:
        answer = await scene.generate(size="2048x2048", n=10)
        assert error_of(answer) == (500, "server_error", "out_of_memory", None)
        assert answer[1]["error"]["message"] == "KSampler: Allocation on device"

    with_server(test)


def test_without_comfyui_it_answers_as_one_that_is_not_there() -> None:
    async def test(scene: Scene) -> None:
        assert (await scene.ask("GET", "/health"))[0] == 200
        await scene.fake.stop()
        assert error_of(await scene.generate())[:3] == (503, "upstream_error", "upstream_unreachable")
        assert (await scene.ask("GET", "/health"))[0] == 503
        await scene.fake.start()
        assert (await scene.generate())[0] == 200

    with_server(test)


def test_it_tells_what_it_is_and_what_it_does() -> None:
    async def test(scene: Scene) -> None:
        _, models = await scene.ask("GET", "/v1/models")
        assert [model["id"] for model in models["data"]] == ["lab/sdxl"]
        scene.fake.gate.clear()
        running = [asyncio.create_task(scene.generate()) for _ in range(2)]
        while len(scene.fake.prompts) < 2:
            await scene.fake.until_changed()
        assert (await scene.ask("GET", "/activity"))[1] == {"in_flight": 2, "work": 2}
        scene.fake.gate.set()
        assert [status for status, _ in await asyncio.gather(*running)] == [200, 200]
        assert (await scene.ask("GET", "/activity"))[1] == {"in_flight": 0, "work": 2}

    with_server(test)


def test_a_client_that_leaves_stops_the_workflow() -> None:
    async def test(scene: Scene) -> None:
        scene.fake.gate.clear()
        running = asyncio.create_task(scene.generate())
        await scene.fake.until_running()
        waiting = asyncio.create_task(scene.generate())
        while len(scene.fake.prompts) < 2:
            await scene.fake.until_changed()
        for task in (waiting, running):
            task.cancel()
            await asyncio.wait((task,))
        await scene.fake.until_idle()
        assert len(scene.fake.interrupts) == 1
        while await scene.in_flight():
            pass  # the server hears of the end from ComfyUI

    with_server(test)


def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody() -> None:
    async def test(scene: Scene) -> None:
        host, _, path = scene.url.removeprefix("http://").partition("/")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(f"POST /{path}/v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""
        assert (await scene.generate())[0] == 200

    with_server(test)
