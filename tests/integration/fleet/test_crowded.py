"""More models than there is room for, many callers, several gateways: all are served, nothing is promised twice."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from tests.integration.fleet.crowd import answers, crowd, until
from tests.integration.fleet.fleet import Fleet, GatewayProcess, chat, entry, fleet
from tests.integration.gateway.raw_client import connected

MODELS = [f"lab/{name}" for name in "pqrstuv"]
NODES = {"a": (4000,), "b": (7000,), "c": (4000, 4000)}
"""Room for five of the seven."""


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    models = [entry(model, quick, 3000, parallel=4) for model in MODELS]
    models += [entry("lab/slow", slow, 3000, parallel=1)]
    section = "access_log = false\n"
    with fleet(tmp_path_factory.mktemp("crowded") / "fleet", NODES, models, gateways=2, gateway=section) as running:
        yield running


STAYING, COMING = ("loaded", "draining", "unloading"), ("loaded", "loading")
"""Who holds memory now, and who will when those have gone that make room."""


def oversold(it: Fleet, name: str) -> list[str]:
    """Return what a node says of its models, if that is more than its devices have."""
    reports = it.node(name).neuron.get("/models")[1]
    for states in (STAYING, COMING):
        for device, total_mb in enumerate(NODES[name]):
            held = [one for one in reports if one["status"] in states and device in one["devices"]]
            if sum(one["declared_mb"] // len(one["devices"]) for one in held) > total_mb:
                return [f"{name}: {one['id']} is {one['status']} on {one['devices']}" for one in held]
    return []


def test_two_hundred_requests_for_more_models_than_fit_are_all_served_and_no_memory_is_promised_twice(it):
    rng = random.Random(20)
    wanted = [rng.choice(MODELS) for _ in range(200)]
    seen: list[str] = []

    async def watch(is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            for name in NODES:
                seen.extend(await asyncio.to_thread(oversold, it, name))

    async def client(gateway: GatewayProcess, statuses: list[int]) -> None:
        while wanted:
            is_streamed = len(wanted) % 2 == 0
            async with crowd(gateway, [wanted.pop()], stream=is_streamed, max_tokens=40) as one:
                (answer,) = await answers(one)
                statuses.append(answer.status)
                assert b'"finish_reason":"length"' in answer.body, "it is whole"
                assert answer.body.endswith(b"data: [DONE]\n\n") == is_streamed

    async def run() -> None:
        is_over, statuses = asyncio.Event(), []
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch(is_over))
            async with asyncio.TaskGroup() as clients:
                for number in range(20):
                    clients.create_task(client(it.gateways[number % len(it.gateways)], statuses))
            is_over.set()
            await watching
        assert statuses == [200] * 200

    asyncio.run(run())
    for gateway in it.gateways:
        it.wait_until(gateway.is_at_rest)
    it.wait_until(lambda: not any(counted(it)))
    assert seen == []
    assert it.refusals() == []
    for name in NODES:
        assert it.node(name).neuron.get("/health")[1]["devices"][0]["reserved_mb"] == 0


def counted(it: Fleet) -> list[int]:
    """Return what every node counts in flight and waiting."""
    reports = [report for node in it.nodes.values() for report in node.neuron.get("/models")[1]]
    return [report["in_flight"] + report["waiting"] for report in reports]


def test_what_a_killed_gateway_held_is_free_again_and_nothing_of_it_is_left(it):
    killed, other = it.gateways

    async def run() -> None:
        async with connected(killed.port) as client:
            await client.ask(chat("lab/slow", stream=True, max_tokens=900))
            assert (await client.head()).status == 200
            async with crowd(killed, ["lab/slow"] * 3):
                await until(lambda: killed.waiting() == 3)
                killed.kill()
                async with crowd(other, ["lab/slow"]) as clients:
                    assert [answer.status for answer in await answers(clients)] == [200]

    asyncio.run(run())
    it.wait_until(other.is_at_rest)
    it.wait_until(lambda: not any(counted(it)))
    (home,) = it.where("lab/slow")
    assert it.node(home).neuron.unload("lab/slow")[0] == 200, "nobody holds it"
    assert other.ask("lab/slow")[0] == 200
