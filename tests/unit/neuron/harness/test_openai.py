"""A server of somebody else's: its models are listed while it answers, and it is never started or stopped."""

import asyncio
import json
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


def test_how_long_a_request_may_be_is_taken_from_the_list_where_that_says_it() -> None:
    body = b'{"data":[{"id":"a","max_model_len":4096},{"id":"b","max_model_len":"long"},{"id":"c"},{"id":"d"}]}'

    async def run(harness: OpenAiHarness, _: str) -> None:
        listed = await harness.listed()
        assert listed is not None
        found.append({model.id: model.context for model in listed})

    found: list[dict[str, int | None]] = []
    with_harness(run, body=body)
    with_harness(run, body=body, models=("a", "x"))
    assert found == [{"a": 4096, "b": None, "c": None, "d": None}, {"a": 4096, "x": None}]


MODELS = b'{"object":"list","data":[{"id":"a/b","object":"model"},{"id":"c"},{"id":"a/b"}]}'


def test_it_lists_each_of_its_models_once() -> None:
    assert listed_by(body=MODELS) == ["a/b", "c"]


def test_ids_that_nobody_can_ask_for_are_left_out() -> None:
    names = ["good", "", " a", "a\n", "a\0b", "x" * 1025, "x" * 1024, "a b/ü"]
    body = json.dumps({"data": [{"id": name} for name in names]}).encode()
    assert listed_by(body=body) == ["good", "x" * 1024, "a b/ü"]


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
    with pytest.raises(ConfigError, match="'lab' of kind openai needs `endpoint`, a base URL, or `endpoints`, several"):
        OpenAiHarness(HarnessEntry(name="lab", kind="openai"), a_site())


def test_a_key_that_cannot_be_read_is_refused_with_its_key(tmp_path: Path) -> None:
    entry = HarnessEntry(name="lab", kind="openai", endpoint="http://h", key_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"'lab' of kind openai: key_file .*/none: cannot be read"):
        OpenAiHarness(entry, a_site())


class Upstream:
    """One server of several; what it lists can be changed, and it can be silent."""

    def __init__(self, *ids: str, key: str | None = None) -> None:
        self.ids: tuple[str, ...] | None = ids
        self.key = key
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.Response(status=401)
        if self.ids is None:
            return web.Response(status=503)
        return web.json_response({"data": [{"id": name} for name in self.ids]})


def with_servers(test: Callable[[OpenAiHarness], Awaitable[None]], *servers: Upstream, **entry: object) -> None:
    async def run() -> None:
        client = HttpClient()
        runners = [web.ServerRunner(web.Server(server.answer, access_log=None)) for server in servers]
        for runner, server in zip(runners, servers, strict=True):
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        fields = {"endpoints": tuple(server.url + "/v1" for server in servers), **entry}
        try:
            await test(OpenAiHarness(HarnessEntry(name="lab", kind="openai", **fields), a_site(http=client)))
        finally:
            await client.close()
            for runner in runners:
                await runner.cleanup()

    asyncio.run(run())


def places(listed: tuple[ListedModel, ...] | None) -> dict[str, tuple[str, bool]] | None:
    return None if listed is None else {model.id: (model.url, model.is_silent) for model in listed}


def test_the_models_of_all_servers_are_listed_and_of_two_with_one_the_first_counts() -> None:
    one, two = Upstream("a", "b"), Upstream("b", "c")

    async def test(harness: OpenAiHarness) -> None:
        listed = await harness.listed()
        assert places(listed) == {"a": (one.url, False), "b": (one.url, False), "c": (two.url, False)}

    with_servers(test, one, two)


def test_a_server_that_dies_is_replaced_where_another_has_its_models() -> None:
    one, two = Upstream("a", "b"), Upstream("b", "c")

    async def test(harness: OpenAiHarness) -> None:
        await harness.listed()
        one.ids = None
        assert places(await harness.listed()) == {"b": (two.url, False), "c": (two.url, False), "a": (one.url, True)}
        one.ids = ("a", "b")
        assert (places(await harness.listed()) or {})["b"] == (one.url, False)

    with_servers(test, one, two)


def test_only_when_all_are_silent_is_there_no_answer() -> None:
    one, two = Upstream("a"), Upstream("a")

    async def test(harness: OpenAiHarness) -> None:
        one.ids = two.ids = None
        assert await harness.listed() is None

    with_servers(test, one, two)


def test_a_server_named_twice_is_asked_once() -> None:
    one = Upstream("a")

    async def test(harness: OpenAiHarness) -> None:
        assert places(await harness.listed()) == {"a": (one.url, False)}
        assert len(harness._servers) == 1

    async def run() -> None:
        entry = HarnessEntry(name="lab", kind="openai", endpoint="http://h/v1", endpoints=("http://h", "http://g"))
        assert [server.url for server in OpenAiHarness(entry, a_site())._servers] == ["http://h", "http://g"]

    with_servers(test, one)
    asyncio.run(run())


@pytest.mark.parametrize("named", [None, ("a",)], ids=["its own list", "named models"])
def test_servers_are_asked_with_the_key_which_can_be_changed(tmp_path: Path, named: tuple[str, ...] | None) -> None:
    file, server = tmp_path / "key", Upstream("a", key="first")
    file.write_text("first\n")

    async def test(harness: OpenAiHarness) -> None:
        (model,) = await harness.listed() or ()
        assert (model.id, model.credential) == ("a", "first")
        server.key = "second"
        assert await harness.listed() is None, "one that refuses the key is of no use"
        file.write_text("second")
        (model,) = await harness.listed() or ()
        assert model.credential == "second"

    with_servers(test, server, key_file=str(file), models=named)


def test_why_a_server_is_silent_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, server = tmp_path / "key", Upstream("a", key="right")
    file.write_text("wrong")

    async def test(harness: OpenAiHarness) -> None:
        for _ in range(2):
            assert await harness.listed() is None

    with_servers(test, server, key_file=str(file))
    assert [record.getMessage() for record in caplog.records] == [
        f"harness lab: {server.url}: it refuses the key of `key_file` (401)"
    ]


def test_nothing_is_loaded_there() -> None:
    async def run() -> None:
        harness = OpenAiHarness(ENTRY, a_site())
        with pytest.raises(NotManaged, match="the server at h:8080 decides itself what it serves, and 'm' is not in"):
            await harness.prepare(LoadRequest(model_id="m", harness="lab"), ())
        with pytest.raises(NotManaged):
            await harness.start(a_launch())
        assert await harness.recover(a_record(), Path("log")) is None

    asyncio.run(run())
