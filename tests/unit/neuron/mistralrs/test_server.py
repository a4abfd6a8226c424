"""The traps of a shared mistral.rs server, one by one, against the fake one: it is never made worse than it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cortex.kit.http_client import HttpClient
from cortex.neuron.mistralrs.server import MIXED_LOOKS, MistralRsServer
from cortex.testing.fake_mistralrs import FakeModel
from cortex.testing.fake_mistralrs_server import FakeMistralRs

Scenario = Callable[[MistralRsServer, FakeMistralRs], Awaitable[None]]
BOTH = pytest.mark.parametrize("version", ["0.9.2", "0.9.3"])


def play(scenario: Scenario, version: str = "0.9.3", **model: Any) -> FakeMistralRs:
    fakes: list[FakeMistralRs] = []

    async def journal() -> tuple[str, ...]:
        return ("INFO started", "ERROR mistralrs_core: failed to reload model `a`: CUDA_ERROR out of memory")

    async def run() -> None:
        http = HttpClient()
        async with FakeMistralRs({"a": FakeModel(**model), "b": FakeModel()}, version=version) as fake:
            fakes.append(fake)
            try:
                await scenario(MistralRsServer(fake.url, http, journal), fake)
            finally:
                await http.close()

    asyncio.run(run())
    return fakes[0]


def changes(fake: FakeMistralRs) -> list[str]:
    """Return the calls that change something."""
    return [call for call in fake.calls if call.startswith("POST")]


@BOTH
def test_the_pseudo_model_is_neither_shown_nor_sent(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        assert await server.states() == {"a": "loaded", "b": "loaded"}
        await server.unload("a")
        assert await server.load("a") is None

    assert not any("default" in call for call in play(scenario, version).calls)


@BOTH
def test_a_model_goes_out_and_comes_in(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        assert await server.states() == {"a": "unloaded", "b": "loaded"}
        assert await server.load("a") is None
        assert fake.table.entries() == [("b", "loaded"), ("a", "loaded")]

    play(scenario, version)


@BOTH
def test_what_is_loaded_is_not_reloaded(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        assert await server.load("a") is None
        assert fake.table.reloading == []

    assert changes(play(scenario, version)) == []


@BOTH
def test_what_is_unknown_is_not_reloaded(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        error = await server.load("nope")
        assert error is not None
        assert error.code == "not_offered"
        assert not fake.table.knows("nope")

    assert changes(play(scenario, version)) == []


@BOTH
def test_what_is_unloaded_is_not_unloaded_again(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        await server.unload("a")
        await server.unload("nope")

    assert changes(play(scenario, version)) == ["POST /v1/models/unload a"]


@BOTH
def test_a_load_joins_the_one_of_a_request(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        assert fake.table.begin_reload("a") is None
        load = asyncio.create_task(server.load("a"))
        while fake.count("GET /v1/models") < 4:
            assert not load.done()
            await asyncio.sleep(0)
        fake.table.end_reload("a", is_loaded=True)
        assert await load is None

    assert changes(play(scenario, version)) == ["POST /v1/models/unload a"]


@BOTH
def test_a_joined_load_that_ends_without_the_model_has_failed(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        assert fake.table.begin_reload("a") is None
        load = asyncio.create_task(server.load("a"))
        while fake.count("GET /v1/models") < 3:
            assert not load.done()
            await asyncio.sleep(0)
        fake.table.end_reload("a", is_loaded=False)
        error = await load
        assert error is not None
        assert "CUDA_ERROR out of memory" in error.message

    play(scenario, version)


@pytest.mark.parametrize(
    ("version", "cause"),
    [("0.9.2", "CUDA_ERROR: no room at all"), ("0.9.3", "CUDA_ERROR out of memory")],
    ids=["it says why", "its log says why"],
)
def test_a_failure_behind_200_or_without_a_reason_says_why(version: str, cause: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        error = await server.load("a")
        assert error is not None
        assert cause in error.message
        assert error.log_tail

    play(scenario, version, reload_error="CUDA_ERROR: no room at all")


@pytest.mark.parametrize("version", ["0.9.2", "0.9.3"])
def test_want_of_memory_is_told_from_other_failures(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        error = await server.load("a")
        assert error is not None
        assert error.code == "out_of_memory"

    play(scenario, version, reload_error='DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")')


@BOTH
def test_a_model_that_was_loaded_in_between_is_loaded(version: str) -> None:
    """Between our look and our call somebody's request has loaded it: the call marks it, and it serves all the same."""

    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        asked = fake.table.begin_reload

        def too_late(name: str) -> Any:
            asked(name)
            fake.table.end_reload(name, is_loaded=True)
            return asked(name)

        fake.table.begin_reload = too_late  # type: ignore[method-assign]
        assert await server.load("a") is None
        assert fake.table.status("a") == "reloading", "for ever"
        assert (await server.states() or {})["a"] == "loaded"
        assert "a" in server.broken

    play(scenario, version)


@BOTH
def test_a_model_that_others_have_marked_serves_until_it_is_unloaded(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        fake.table.begin_reload("a")
        for _ in range(MIXED_LOOKS):
            await server.states()
        assert server.broken == {"a"}
        assert (await server.states() or {})["a"] == "loaded"
        await server.unload("a")
        assert fake.table.entries()[0] == ("a", "reloading"), "as it is listed now, for ever"
        assert (await server.states() or {})["a"] == "unloaded"
        error = await server.load("a")
        assert error is not None
        assert (error.code, "Restart the harness" in error.message) == ("restart_needed", True)
        server.begin_anew()
        assert server.broken == set()

    assert "POST /v1/models/reload a" not in play(scenario, version).calls


@BOTH
def test_a_model_marked_a_moment_ago_is_known_to_be_by_its_unload(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        fake.table.begin_reload("a")
        await server.unload("a")
        assert (await server.states() or {})["a"] == "unloaded"

    play(scenario, version)


def test_one_look_at_a_list_in_the_middle_of_a_change_marks_nothing() -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        fake.table.begin_reload("a")
        for _ in range(MIXED_LOOKS - 1):
            assert (await server.states() or {})["a"] == "loading"
        fake.table.reloading.clear()
        await server.states()
        fake.table.begin_reload("a")
        await server.states()
        assert server.broken == set()

    play(scenario)


@BOTH
def test_a_model_that_cannot_be_loaded_again_says_so(version: str) -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        assert (await server.states() or {})["a"] == "loaded", "it has no loader, and stays"

    play(scenario, version, has_loader=False)


def test_a_call_that_is_called_off_goes_on_there_and_is_not_repeated() -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        await server.unload("a")
        fake.load_gate.clear()
        load = asyncio.create_task(server.load("a"))
        while fake.table.status("a") != "reloading":
            assert not load.done()
            await asyncio.sleep(0)
        load.cancel()
        await asyncio.wait((load,))
        again = asyncio.create_task(server.load("a"))
        while fake.count("GET /v1/models") < 4:
            assert not again.done()
            await asyncio.sleep(0)
        fake.load_gate.set()
        assert await again is None

    assert changes(play(scenario)).count("POST /v1/models/reload a") == 1


def test_a_server_that_is_gone_or_another_one_has_no_models() -> None:
    async def run() -> None:
        http = HttpClient()

        async def journal() -> tuple[str, ...]:
            return ()

        async with FakeMistralRs({"a": FakeModel()}) as fake:
            url = fake.url
        server = MistralRsServer(url, http, journal)
        try:
            assert await server.states() is None
            assert await server.info() is None
            assert not await server.is_healthy()
            assert await server.activity("a") is None
            assert await server.counts() is None, "nobody knows"
            error = await server.load("a")
            assert error is not None
            assert error.code == "server_silent"
            await server.unload("a")
        finally:
            await http.close()

    asyncio.run(run())


def test_it_tells_what_it_does_and_what_it_is() -> None:
    async def scenario(server: MistralRsServer, fake: FakeMistralRs) -> None:
        info, activity = await server.info(), await server.activity("a")
        assert info is not None
        assert info.build.version == "0.9.3"
        assert activity is not None
        assert activity.in_flight == 0
        assert await server.is_healthy()
        assert await server.counts()
        fake.has_metrics = fake.is_well = False
        assert await server.activity("a") is None
        assert await server.counts() is False
        assert not await server.is_healthy()
        assert len(await server.last_words()) == 2

    play(scenario)
