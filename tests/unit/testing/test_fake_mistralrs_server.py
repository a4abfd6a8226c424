"""The fake mistral.rs answers as the real one does, in both dialects."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from cortex.testing.fake_mistralrs import FakeModel, FakeOptions
from cortex.testing.fake_mistralrs_server import FakeMistralRs

OLD, NEW = "0.9.2", "0.9.3"
VERSIONS = pytest.mark.parametrize("version", [OLD, NEW])


class Caller:
    """Speaks to one server."""

    def __init__(self, server: FakeMistralRs, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.session.post(self.server.url + path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.server.url + path) as answer:
            return answer.status, await answer.text()

    async def listed(self) -> list[tuple[str, str | None]]:
        models = json.loads((await self.get("/v1/models"))[1])["data"]
        return sorted((model["id"], model.get("status")) for model in models)

    async def do(self, verb: str, name: str) -> tuple[int, Any]:
        return await self.post(f"/v1/models/{verb}", {"model_id": name})

    async def chat(self, name: str | None = "a", **more: object) -> tuple[int, Any]:
        named = {} if name is None else {"model": name}
        return await self.post("/v1/chat/completions", {"messages": [], **named, **more})


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never is so")


Scenario = Callable[[Caller], Awaitable[None]]


def play(scenario: Scenario, *names: str, version: str = NEW, options: FakeOptions | None = None, **model: Any) -> None:
    async def run() -> None:
        models = {name: FakeModel(**model) for name in names or ("a", "b")}
        async with (
            FakeMistralRs(models, version=version, options=options) as server,
            aiohttp.ClientSession() as session,
        ):
            await scenario(Caller(server, session))

    asyncio.run(run())


@VERSIONS
def test_its_list_begins_with_a_model_that_is_none(version: str) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.listed() == [("a", "loaded"), ("b", "loaded"), ("default", None)]

    play(scenario, version=version)


@pytest.mark.parametrize(("version", "listed"), [(OLD, [("default", None)]), (NEW, [])])
def test_the_list_of_nothing(version: str, listed: list[tuple[str, None]]) -> None:
    async def scenario(caller: Caller) -> None:
        caller.server.table.loaded.clear()
        assert await caller.listed() == listed

    play(scenario, version=version)


def test_the_order_of_its_list_is_not_to_be_relied_upon() -> None:
    async def scenario(caller: Caller) -> None:
        lists = {(await caller.get("/v1/models"))[1] for _ in range(2)}
        assert len(lists) == 2

    play(scenario)


@pytest.mark.parametrize(
    ("verb", "name", "old", "new"),
    [
        ("unload", "a", (200, "unloaded"), (200, "unloaded")),
        ("unload", "x", (200, "not_found"), (404, "model_not_found")),
        ("status", "a", (200, "loaded"), (200, "loaded")),
        ("status", "x", (200, "not_found"), (404, "model_not_found")),
        ("reload", "a", (200, "not_found"), (404, "model_not_found")),
        ("reload", "x", (200, "not_found"), (404, "model_not_found")),
    ],
)
@VERSIONS
def test_what_went_wrong_is_a_status_only_in_the_new_dialect(
    version: str, verb: str, name: str, old: tuple[int, str], new: tuple[int, str]
) -> None:
    async def scenario(caller: Caller) -> None:
        status, said = await caller.do(verb, name)
        word = said["status"] if status == 200 else said["error"]["code"]
        assert (status, word) == (old if version == OLD else new)

    play(scenario, version=version)


def test_the_old_dialect_says_why_a_reload_failed_and_the_new_one_does_not() -> None:
    said: dict[str, Any] = {}

    def scenario_for(version: str) -> Scenario:
        async def scenario(caller: Caller) -> None:
            await caller.do("unload", "a")
            said[version] = await caller.do("reload", "a")
            assert caller.server.table.status("a") == "unloaded"

        return scenario

    for version in (OLD, NEW):
        play(scenario_for(version), version=version, reload_error="CUDA_ERROR_OUT_OF_MEMORY")
    assert said[OLD] == (200, {"model_id": "a", "status": "internal_error", "error": "CUDA_ERROR_OUT_OF_MEMORY"})
    status, body = said[NEW]
    assert (status, body["error"]["message"], body["error"]["type"]) == (500, "Internal server error.", "server_error")


def test_a_reload_answers_when_it_is_over_and_goes_on_without_its_caller() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.do("unload", "a")
        caller.server.load_gate.clear()
        reload = asyncio.create_task(caller.do("reload", "a"))
        await until(lambda: caller.server.table.status("a") == "reloading")
        assert ("a", "reloading") in await caller.listed()
        assert (await caller.do("reload", "a"))[0] == 409
        reload.cancel()
        await asyncio.wait((reload,))
        caller.server.load_gate.set()
        await until(lambda: caller.server.table.status("a") == "loaded")

    play(scenario)


@VERSIONS
def test_a_request_for_an_unloaded_model_loads_it(version: str) -> None:
    async def scenario(caller: Caller) -> None:
        await caller.do("unload", "a")
        status, said = await caller.chat("a")
        assert (status, said["model"]) == (200, "a")
        assert caller.server.table.status("a") == "loaded"

    play(scenario, version=version)


@pytest.mark.parametrize(("version", "status"), [(OLD, 500), (NEW, 404)])
def test_an_unknown_model_is_refused(version: str, status: int) -> None:
    async def scenario(caller: Caller) -> None:
        got, said = await caller.chat("x")
        assert got == status
        assert "message" in (said if version == OLD else said["error"])

    play(scenario, version=version)


@VERSIONS
def test_the_default_is_broken_after_an_unload_and_a_reload(version: str) -> None:
    async def scenario(caller: Caller) -> None:
        assert (await caller.chat("default"))[1]["model"] == "a"
        await caller.do("unload", "a")
        await caller.do("reload", "a")
        assert (await caller.chat("a"))[0] == 200
        for name in ("default", None):
            assert (await caller.chat(name))[0] == 500

    play(scenario, "a", version=version)


def test_an_unload_cuts_a_stream_without_a_word() -> None:
    async def scenario(caller: Caller) -> None:
        body = {"model": "a", "stream": True, "max_tokens": 3, "messages": []}
        caller.server.token_gate.clear()
        async with caller.session.post(caller.server.url + "/v1/chat/completions", json=body) as answer:
            first = await answer.content.readuntil(b"\n\n")
            assert json.loads(first.removeprefix(b"data: "))["object"] == "chat.completion.chunk"
            await caller.do("unload", "a")
            rest = await answer.read()
        assert b"[DONE]" not in rest
        assert b'finish_reason":"stop' not in rest

    play(scenario)


def test_a_stream_ends_with_usage_in_its_last_chunk() -> None:
    async def scenario(caller: Caller) -> None:
        body = {"model": "a", "stream": True, "max_tokens": 2, "messages": []}
        async with caller.session.post(caller.server.url + "/v1/chat/completions", json=body) as answer:
            *chunks, done, _ = (await answer.read()).split(b"\n\n")
        said = [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]
        assert done == b"data: [DONE]"
        assert [chunk["usage"] is None for chunk in said] == [True, False]
        assert said[-1]["choices"][0]["finish_reason"] == "stop"
        assert said[-1]["usage"]["completion_tokens"] == 2

    play(scenario)


def test_an_unload_ends_what_is_no_stream_with_an_error() -> None:
    async def scenario(caller: Caller) -> None:
        caller.server.token_gate.clear()
        chat = asyncio.create_task(caller.chat("a"))
        await until(lambda: bool(caller.server.count("POST /v1/chat/completions a")))
        await caller.do("unload", "a")
        assert (await chat)[0] == 500

    play(scenario)


@pytest.mark.parametrize(
    ("version", "content_type", "body", "status", "code"),
    [
        (OLD, "application/json", b"{", 400, None),
        (NEW, "application/json", b"{", 400, "malformed_json"),
        (OLD, "application/json", b"{}", 422, None),
        (NEW, "application/json", b"{}", 400, "invalid_request_body"),
        (OLD, "text/plain", b"{}", 415, None),
        (NEW, "text/plain", b"{}", 415, "invalid_content_type"),
    ],
)
def test_a_body_that_is_none_is_refused_in_plain_text_by_the_old_one(
    version: str, content_type: str, body: bytes, status: int, code: str | None
) -> None:
    async def scenario(caller: Caller) -> None:
        url, headers = caller.server.url + "/v1/models/unload", {"content-type": content_type}
        async with caller.session.post(url, data=body, headers=headers) as answer:
            assert answer.status == status
            text = await answer.text()
        said = json.loads(text)["error"]["code"] if text.startswith("{") else None
        assert said == code

    play(scenario, version=version)


def test_its_metrics_count_a_stream_until_its_end_by_model() -> None:
    async def scenario(caller: Caller) -> None:
        label = 'method="POST",path="/v1/chat/completions",model="a"'
        body = {"model": "a", "stream": True, "messages": []}
        caller.server.token_gate.clear()
        async with caller.session.post(caller.server.url + "/v1/chat/completions", json=body) as answer:
            await answer.content.readuntil(b"\n\n")
            assert f"http_requests_in_flight{{{label}}} 1" in (await caller.get("/metrics"))[1]
            caller.server.token_gate.set()
            await answer.read()
        metrics = (await caller.get("/metrics"))[1]
        assert f"http_requests_in_flight{{{label}}} 0" in metrics
        assert f'http_requests_total{{{label},status="200"}} 1' in metrics
        await caller.do("unload", "x")
        await caller.chat(None)
        metrics = (await caller.get("/metrics"))[1]
        assert f'http_requests_total{{{label},status="200"}} 2' in metrics, "the default is counted by its id"
        assert 'path="/v1/models/unload",model="unknown",status="404"} 1' in metrics
        assert "/metrics" not in metrics, "nor is its housekeeping"
        caller.server.has_metrics = False
        assert (await caller.get("/metrics"))[0] == 503

    play(scenario)


def test_it_says_what_it_was_built_of_and_lists_adapters_as_models() -> None:
    async def scenario(caller: Caller) -> None:
        info = json.loads((await caller.get("/v1/system/info"))[1])
        assert info["build"]["version"] == "0.9.4"
        assert info["build"]["cuda_toolkit_version"] == "13.0"
        models = json.loads((await caller.get("/v1/models"))[1])["data"]
        assert [model["parent"] for model in models if model["id"] == "adapter"] == ["a"]

    play(scenario, options=FakeOptions(version="0.9.4", cuda_toolkit_version="13.0", adapters={"adapter": "a"}))


def test_it_does_not_start_when_one_model_fails() -> None:
    async def run() -> None:
        server = FakeMistralRs({"a": FakeModel(), "b": FakeModel(error="no weights")})
        with pytest.raises(RuntimeError, match="no weights"):
            await server.listen("127.0.0.1", 0)

    asyncio.run(run())
