"""The scripted neuron keeps the contract that the real one has."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from cortex.contract.instance import InstanceError
from cortex.testing.fake_neuron import FakeNeuron, Refused

LOAD = {"model_id": "org/m", "harness": "llamacpp", "devices": [0]}


def with_neuron(test: Callable[[FakeNeuron, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        async with FakeNeuron() as neuron, aiohttp.ClientSession(neuron.url) as session:
            await test(neuron, session)

    asyncio.run(run())


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, object]:
    async with session.get(path) as response:
        return response.status, await response.json()


async def post(session: aiohttp.ClientSession, path: str, body: object) -> tuple[int, object]:
    async with session.post(path, json=body) as response:
        return response.status, await response.json()


async def statuses(session: aiohttp.ClientSession) -> list[object]:
    _, models = await get(session, "/models")
    assert isinstance(models, list)
    return [model["status"] for model in models]


def test_answers_carry_life_and_event() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        async with session.get("/models") as response:
            before = int(response.headers["x-cortex-event"])
            assert response.headers["x-cortex-start-id"] == "life-1"
        neuron.put("m")
        async with session.get("/models") as response:
            assert int(response.headers["x-cortex-event"]) > before

    with_neuron(run)


def test_load_ends_when_its_gate_is_open() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        neuron.load_gate.clear()
        assert await post(session, "/models/load", LOAD) == (
            200,
            {"status": "loading", "generation": 1, "estimated_mb": None},
        )
        assert await statuses(session) == ["loading"]
        neuron.load_gate.set()
        assert await statuses(session) == ["loaded"]
        _, answer = await post(session, "/models/load", LOAD)
        assert isinstance(answer, dict)
        assert answer["status"] == "loaded"

    with_neuron(run)


def test_scripted_failure_and_refusal_each_happen_once() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        neuron.load_refusals.append(Refused(409, "no_room", "full"))
        neuron.load_failures.append(InstanceError(code="oom", message="x"))
        assert (await post(session, "/models/load", LOAD))[0] == 409
        await post(session, "/models/load", LOAD)
        assert await statuses(session) == ["failed"]
        await post(session, "/models/load", LOAD)
        assert await statuses(session) == ["loaded"]
        assert neuron.models["org/m"].generation == 2

    with_neuron(run)


@pytest.mark.parametrize("path", ["/models/org/m/endpoint?gateway=g", "/models/org%2Fm/endpoint?gateway=g"])
def test_endpoint_is_found_with_raw_and_quoted_slashes(path: str) -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        assert (await get(session, path))[0] == 404
        neuron.put("org/m", "loading")
        assert (await get(session, path))[0] == 409
        neuron.put("org/m", "loaded")
        assert (await get(session, path))[0] == 200
        assert neuron.holders == {"g"}

    with_neuron(run)


def test_unload_and_removal() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        assert (await post(session, "/models/unload", {"model_id": "org/m"}))[0] == 404
        neuron.put("org/m")
        assert await post(session, "/models/unload", {"model_id": "org/m"}) == (200, {"status": "unloaded"})
        assert await statuses(session) == ["unloaded"]
        neuron.remove("org/m")
        assert await statuses(session) == []

    with_neuron(run)


def test_stopped_neuron_refuses_connections_and_comes_back_on_its_port() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        url = neuron.url
        await neuron.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(session, "/models")
        await neuron.start()
        assert neuron.url == url
        assert (await get(session, "/models"))[0] == 200

    with_neuron(run)


def test_in_maintenance_it_loads_nothing_and_says_so() -> None:
    async def run(neuron: FakeNeuron, session: aiohttp.ClientSession) -> None:
        assert await post(session, "/maintenance", {"on": True}) == (200, {"maintenance": True})
        status, refusal = await post(session, "/models/load", LOAD)
        assert isinstance(refusal, dict)
        assert (status, refusal["error"]["code"]) == (409, "maintenance")
        _, health = await get(session, "/health")
        assert isinstance(health, dict)
        assert health["maintenance"]
        neuron.maintain(False)
        assert (await post(session, "/models/load", LOAD))[0] == 200

    with_neuron(run)
