"""A server of somebody else's: its models are listed while it answers, and it is never started or stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.neuron.harness.builder import a_launch, a_record, a_site

from cortex.contract.error import ConfigError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import HarnessDetail
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness import openai
from cortex.neuron.harness.interface import ListedModel
from cortex.neuron.harness.openai import OpenAiHarness
from cortex.neuron.refusal import NotManaged
from cortex.neuron.settings import HarnessEntry


def with_harness(
    test: Callable[[OpenAiHarness, str], Awaitable[None]],
    *,
    status: int = 200,
    body: bytes = b"",
    models: tuple[str, ...] | None = None,
    suffix: str = "",
    is_up: bool = True,
) -> list[str]:
    """Run a test with an entry whose server gives this answer; return the paths that it was asked for."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.Response(status=status, body=body)

    async def run() -> None:
        client = HttpClient()
        server = web.ServerRunner(web.Server(answer, access_log=None))
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{server.addresses[0][1]}"
        if not is_up:
            await server.cleanup()
        entry = HarnessEntry(name="lab", kind="openai", endpoint=url + suffix, models=models)
        try:
            await test(OpenAiHarness(entry, a_site(http=client)), url)
        finally:
            await client.close()
            await server.cleanup()

    asyncio.run(run())
    return asked


def listed_by(*, status: int = 200, body: bytes = b"", models: tuple[str, ...] | None = None, is_up: bool = True):
    """Return the ids that are listed; None when the server is taken not to answer."""
    found: list[tuple[ListedModel, ...] | None] = []

    async def run(harness: OpenAiHarness, _: str) -> None:
        found.append(await harness.listed())

    with_harness(run, status=status, body=body, models=models, is_up=is_up)
    return None if found[0] is None else [model.id for model in found[0]]


MODELS = b'{"object":"list","data":[{"id":"a/b","object":"model"},{"id":"c"},{"id":"a/b"}]}'


def test_it_lists_each_of_its_models_once() -> None:
    assert listed_by(body=MODELS) == ["a/b", "c"]


@pytest.mark.parametrize("suffix", ["", "/v1", "/sub/v1"])
def test_a_listed_models_url_is_the_base_before_v1(suffix: str) -> None:
    async def run(harness: OpenAiHarness, url: str) -> None:
        base = url + suffix.removesuffix("/v1")
        assert await harness.listed() == (
            ListedModel(id="a/b", url=base, engine_model="a/b"),
            ListedModel(id="c", url=base, engine_model="c"),
        )

    assert with_harness(run, body=MODELS, suffix=suffix) == [f"GET {suffix.removesuffix('/v1')}/v1/models"]


@pytest.mark.parametrize("status", [200, 401, 404])
def test_named_models_need_only_a_server_that_answers(status: int) -> None:
    assert listed_by(status=status, body=b"no list", models=("x", "y", "x")) == ["x", "y"]


@pytest.mark.parametrize("models", [None, ("x",)], ids=["its own", "named"])
@pytest.mark.parametrize(("status", "is_up"), [(503, True), (200, False)], ids=["unwell", "gone"])
def test_a_server_that_does_not_answer_lists_nothing(models: tuple[str, ...] | None, status: int, is_up: bool) -> None:
    assert listed_by(status=status, body=MODELS, models=models, is_up=is_up) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, MODELS), (404, b""), (200, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"data":[{"name":"x"}]}')],
    ids=["not let in", "no such path", "empty", "a web page", "another list", "models without ids"],
)
def test_what_is_no_list_of_models_is_no_answer(status: int, body: bytes) -> None:
    assert listed_by(status=status, body=body) is None


def test_a_server_without_models_lists_none() -> None:
    assert listed_by(body=b'{"data":[]}') == []


def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "DEADLINE_S", 0.05)

    async def run() -> None:
        over = asyncio.Event()

        async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.close()

        client = HttpClient()
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        entry = HarnessEntry(name="lab", endpoint=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            assert await OpenAiHarness(entry, a_site(http=client)).listed() is None
        finally:
            over.set()
            await client.close()
            server.close()
            await server.wait_closed()

    asyncio.run(run())


ENTRY = HarnessEntry(name="lab", kind="openai", endpoint="http://h:8080/v1")


def test_it_is_usable_whether_or_not_its_server_runs() -> None:
    detail = asyncio.run(OpenAiHarness(ENTRY, a_site()).probe())
    assert detail == HarnessDetail(name="lab", kind="openai", usable=True)


def test_it_needs_no_device() -> None:
    assert OpenAiHarness(ENTRY, a_site()).device_kinds == frozenset()


def test_without_an_endpoint_the_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match="'lab' of kind openai needs `endpoint`, a base URL"):
        OpenAiHarness(HarnessEntry(name="lab", kind="openai"), a_site())


def test_nothing_is_loaded_there() -> None:
    async def run() -> None:
        harness = OpenAiHarness(ENTRY, a_site())
        with pytest.raises(NotManaged, match="the server at h:8080 decides itself what it serves, and 'm' is not in"):
            await harness.prepare(LoadRequest(model_id="m", harness="lab"), ())
        with pytest.raises(NotManaged):
            await harness.start(a_launch())
        assert await harness.recover(a_record(), Path("log")) is None

    asyncio.run(run())
