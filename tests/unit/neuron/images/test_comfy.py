"""ComfyUI's API: images come back, failures are told in its own words, what is called off is stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.unit.neuron.images.comfy_scene import a_workflow, with_comfy

from cortex.contract.error import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.neuron.images import comfy as module
from cortex.neuron.images.answer import Failed, Image, OutOfMemory, Rejected
from cortex.neuron.images.comfy import Comfy, client_id_of
from cortex.residency.backoff import Backoff
from cortex.testing.fake_comfyui import FakeComfyUi, png

OWN = "cortex-1"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", Backoff(first_s=0.001, limit_s=0.001, factor=1))


def test_a_workflow_gives_its_images() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        images = await comfy.run(a_workflow(N=2), OWN)
        assert len(images) == 2
        assert await comfy.view(images[0]) == png(64, 72)
        assert fake.prompts == [a_workflow(N=2)]

    with_comfy(run)


def test_a_file_is_found_in_its_folder_and_one_that_is_gone_is_told() -> None:
    async def run(_: FakeComfyUi, comfy: Comfy) -> None:
        workflow = a_workflow()
        assert isinstance(workflow, dict)
        workflow["7"] = {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "a b/x&y"}}
        (image,) = await comfy.run(workflow, OWN)
        assert (image.subfolder, image.type) == ("a b", "output")
        assert await comfy.view(image) == png(64, 72)
        with pytest.raises(UpstreamBroken, match=r"does not have none\.png any more"):
            await comfy.view(Image("none.png"))

    with_comfy(run)


def test_a_workflow_that_is_rejected_says_at_which_node() -> None:
    async def run(_: FakeComfyUi, comfy: Comfy) -> None:
        with pytest.raises(Rejected) as error:
            await comfy.run(a_workflow(CHECKPOINT="none", WIDTH=8), OWN)
        words = error.value.message
        assert "CheckpointLoaderSimple: Value not in list (ckpt_name: 'none' not in ['sdxl.safetensors'])" in words
        assert "EmptyLatentImage: Value 8 smaller than min of 16 (width)" in words

    with_comfy(run)


def test_a_workflow_that_does_not_fit_says_so() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        with pytest.raises(OutOfMemory, match=r"^KSampler: Allocation on device$"):
            await comfy.run(a_workflow(WIDTH=4096, HEIGHT=4096, N=2), OWN)
        assert fake.held_bytes == 0

    with_comfy(run)


def test_a_workflow_that_is_lost_is_not_waited_for() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        fake.gate.clear()
        running = asyncio.create_task(comfy.run(a_workflow(), OWN))
        await fake.until_running()
        fake.forget()
        with pytest.raises(Failed, match="has lost the workflow"):
            await running

    with_comfy(run)


def test_a_workflow_that_somebody_else_interrupts_is_told() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        fake.gate.clear()
        running = asyncio.create_task(comfy.run(a_workflow(), OWN))
        await fake.until_running()
        await comfy.call_off(OWN)
        with pytest.raises(Failed, match="interrupted"):
            await running

    with_comfy(run)


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
def test_what_is_called_off_is_stopped_and_only_that(is_old: bool) -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        fake.gate.clear()
        first = asyncio.create_task(comfy.run(a_workflow(), OWN))
        await fake.until_running()
        second = asyncio.create_task(comfy.run(a_workflow(), OWN))
        while len(fake.prompts) < 2:
            await fake.until_changed()
        second.cancel()
        await asyncio.wait((second,))
        assert fake.interrupts == [], "it only waited"
        first.cancel()
        await asyncio.wait((first,))
        assert len(fake.interrupts) == 1
        assert not fake.is_busy

    with_comfy(run, is_old=is_old)


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_it_is_called_off_at_any_moment_without_a_rest(steps: int) -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        fake.gate.clear()
        running = asyncio.create_task(comfy.run(a_workflow(), OWN))
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait((running,))
        assert running.cancelled()
        assert not fake.is_busy

    with_comfy(run)


def test_all_of_one_client_is_called_off_and_nothing_of_another() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        fake.gate.clear()
        names = [OWN, "other", OWN]
        runs = []
        for number, name in enumerate(names):
            runs.append(asyncio.create_task(comfy.run(a_workflow(SEED=number), name)))
            while len(fake.prompts) <= number:
                await fake.until_changed()
        await fake.until_running()
        await comfy.call_off(OWN)
        fake.gate.set()
        ended = await asyncio.gather(*runs, return_exceptions=True)
        assert [isinstance(end, Failed) for end in ended] == [True, False, True]
        await comfy.call_off(OWN)

    with_comfy(run)


@pytest.mark.parametrize("is_v3", [False, True], ids=["old form", "new form"])
def test_it_tells_what_it_has(is_v3: bool) -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        assert await comfy.checkpoints() == ("a/sdxl.safetensors", "flux.safetensors")
        assert await comfy.lacking({"KSampler", "Own/Node?", "Other"}) == ("Other", "Own/Node?")
        stats = await comfy.stats()
        assert stats.system["comfyui_version"] == "0.3.60"
        assert (stats.memory.type, stats.memory.held_bytes) == ("cuda", 0)
        await comfy.run(a_workflow(CHECKPOINT="flux.safetensors"), OWN)
        assert (await comfy.stats()).memory.held_bytes == fake.held_bytes > 0
        await comfy.free()
        await fake.until_idle()
        assert (await comfy.stats()).memory.held_bytes == 0

    with_comfy(run, checkpoints=("a/sdxl.safetensors", "flux.safetensors"), device="cuda", is_v3=is_v3)


def with_answers(test: Callable[[Comfy], Awaitable[None]], *answers: tuple[int, bytes]) -> list[str]:
    """Run a test against a server that gives these answers, the last one for ever; return what it was asked."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        status, body = answers[min(len(asked), len(answers)) - 1]
        return web.Response(status=status, body=body)

    async def run() -> None:
        http = HttpClient()
        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await test(Comfy(f"http://127.0.0.1:{runner.addresses[0][1]}", http))
        finally:
            await http.close()
            await runner.cleanup()

    asyncio.run(run())
    return asked


@pytest.mark.parametrize(
    "answer",
    [(404, b""), (200, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"devices": 1}'), (200, b"[" * 100_000)],
    ids=["not found", "empty", "html", "a list", "other types", "deep"],
)
def test_what_is_no_comfyui_is_told(answer: tuple[int, bytes]) -> None:
    async def test(comfy: Comfy) -> None:
        with pytest.raises(UpstreamBroken, match=rf"/system_stats: answered {answer[0]}, and not as ComfyUI does"):
            await comfy.stats()

    with_answers(test, answer)


@pytest.mark.parametrize(
    "answer",
    [(500, b"boom"), (400, b"boom"), (200, b"{}"), (200, b'{"prompt_id": 1}')],
    ids=["crash", "no json", "no id", "another id"],
)
def test_a_strange_answer_to_a_workflow_is_told(answer: tuple[int, bytes]) -> None:
    async def test(comfy: Comfy) -> None:
        with pytest.raises(UpstreamBroken, match="/prompt: answered"):
            await comfy.run({}, OWN)

    assert with_answers(test, answer) == ["POST /prompt"]


def test_a_server_without_checkpoints_has_none() -> None:
    async def test(comfy: Comfy) -> None:
        assert await comfy.checkpoints() == ()

    with_answers(test, (200, b'{"CheckpointLoaderSimple": {"input": {}}}'))


def test_a_server_that_is_gone_is_told() -> None:
    async def run(fake: FakeComfyUi, comfy: Comfy) -> None:
        await fake.stop()
        with pytest.raises(UpstreamUnreachable):
            await comfy.stats()
        await comfy.call_off(OWN)
        await fake.start()
        assert await comfy.run(a_workflow(), OWN)

    with_comfy(run)


def test_the_name_of_a_generation_does_not_give_its_nonce_away() -> None:
    assert "secret" not in client_id_of("secret")
    assert client_id_of("secret") == client_id_of("secret") != client_id_of("other")


class Silent(HttpClient):
    """Gets no answer to some of its first questions about how a workflow ended."""

    def __init__(self, silences: int) -> None:
        super().__init__()
        self.silences = silences

    async def request(self, method: str, url: str, **more: Any) -> HttpReply:
        if "/history/" in url and self.silences:
            self.silences -= 1
            raise UpstreamTimeout(url)
        return await super().request(method, url, **more)


@pytest.mark.parametrize(("silences", "ends"), [(module.SILENT_POLLS - 1, True), (module.SILENT_POLLS, False)])
def test_a_server_that_is_busy_with_reading_a_model_is_waited_for(silences: int, ends: bool) -> None:
    async def run() -> None:
        http = Silent(silences)
        try:
            async with FakeComfyUi() as fake:
                running = Comfy(fake.url, http).run(a_workflow(), OWN)
                if ends:
                    assert len(await running) == 1
                else:
                    fake.gate.clear()
                    with pytest.raises(UpstreamTimeout):
                        await running
                    assert not fake.is_busy, "nobody waits for it any more"
        finally:
            await http.close()

    asyncio.run(run())
