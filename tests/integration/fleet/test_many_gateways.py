"""Three gateways on one fleet, which agree through a store, or through the neurons alone.

Each of them likes another node best (its catalogue pins the models there), so that nothing but the store keeps them
from loading a model three times.
"""

import asyncio
import contextlib
import re
import urllib.request
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from tests.integration.fleet.crowd import answers, crowd, until
from tests.integration.fleet.fleet import Fleet, GatewayProcess, chat, entry, fleet
from tests.integration.gateway.raw_client import connected
from tests.integration.neuron.neuron_process import LIMIT_S
from tests.postgresql import PostgreSQL

NODES = ("a", "b", "c")
KEPT = "lab/kept"
SLOW, PARALLEL = "lab/slow", 2
EACH = 10
"""Clients of one gateway that ask at once."""


@contextlib.contextmanager
def three_gateways(folder: Path, quick: Path, url: str | None, **kept: object) -> Iterator[Fleet]:
    """Run three gateways over three nodes; ``kept``: more of what the catalogue says of one of the models."""
    models = [entry(f"lab/{name}", quick, 3000) for name in ("one", "two")] + [entry(KEPT, quick, 3000, **kept)]
    store = "" if url is None else f'\n[store]\nurl = "{url}"\n'
    with fleet(folder, dict.fromkeys(NODES, (12_000,)), models, gateways=0) as it:
        for favourite in NODES:
            it.catalogue = {one["id"]: {**one, "pinned_on": [favourite]} for one in models}
            it.start_gateway(store)
        for gateway in it.gateways:
            gateway.wait_until_ready()
        yield it


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def crowded(tmp_path: Path, slow: Path) -> Iterator[Fleet]:
    """Three gateways without a store on one node, whose model takes two requests at a time."""
    models = [entry(SLOW, slow, 3000, parallel=PARALLEL, context=4096)]
    with fleet(tmp_path / "fleet", {"a": (12_000,)}, models, gateways=3, gateway="access_log = false\n") as it:
        yield it


def ask_all_at_once(it: Fleet, model: str) -> set[int]:
    """Let clients of every gateway ask for a model that is loaded nowhere; return their statuses."""

    async def run() -> set[int]:
        hold_loads(it, True)
        async with contextlib.AsyncExitStack() as stack:
            crowds = [await stack.enter_async_context(crowd(one, [model] * EACH)) for one in it.gateways]
            await until(lambda: [gateway.waiting() for gateway in it.gateways] == [EACH] * len(crowds))
            hold_loads(it, False)
            return {answer.status for answer in await answers(list(chain(*crowds)))}

    return asyncio.run(run())


def hold_loads(it: Fleet, is_on: bool) -> None:
    for node in it.nodes.values():
        node.board.hold_loads(is_on)


def stewards(it: Fleet) -> list[GatewayProcess]:
    return [one for one in it.gateways if one.process.poll() is None and one.metric("cortex_steward")]


def number_of(steward: GatewayProcess) -> int:
    """Return the number under which a gateway became the steward."""
    found = re.findall(r"this gateway is the steward, number (\d+)", steward.log)
    return int(found[-1])


def test_first_requests_through_all_gateways_make_one_load(tmp_path, quick, url):
    with three_gateways(tmp_path / "fleet", quick, url) as it:
        assert ask_all_at_once(it, "lab/one") == {200}
        assert it.loads("lab/one") == 1
        assert sum(gateway.log.count("is loaded by gateway") for gateway in it.gateways) >= 2
        assert ask_all_at_once(it, "lab/two") == {200}
        assert it.loads("lab/two") == 1


def test_a_load_whose_gateway_is_killed_serves_the_others(tmp_path, quick):
    with three_gateways(tmp_path / "fleet", quick, f"sqlite:///{tmp_path}/store.db") as it:
        victim, heir, _ = it.gateways

        async def run() -> None:
            hold_loads(it, True)
            async with crowd(victim, ["lab/one"]):
                await until(lambda: it.loads("lab/one") == 1)
                victim.kill()
            async with crowd(heir, ["lab/one"]) as clients:
                await until(lambda: heir.waiting() == 1)
                hold_loads(it, False)
                assert [answer.status for answer in await answers(clients)] == [200]

        asyncio.run(run())
        assert it.loads("lab/one") == 1


def test_without_a_store_each_gateway_makes_at_most_one_and_no_request_fails(tmp_path, quick):
    with three_gateways(tmp_path / "fleet", quick, None) as it:
        assert ask_all_at_once(it, "lab/one") == {200}
        assert 1 <= it.loads("lab/one") <= 3
        it.wait_until(lambda: len(it.where("lab/one")) == it.loads("lab/one"))


def test_one_gateway_is_the_steward_and_when_it_is_killed_another_under_a_larger_number(tmp_path, quick, postgresql):
    with three_gateways(tmp_path / "fleet", quick, postgresql.new_database(), min_replicas=1) as it:
        it.wait_until(lambda: len(stewards(it)) == 1)
        it.wait_until(lambda: it.where(KEPT) != [])
        (first,) = stewards(it)
        first.kill()
        it.wait_until(lambda: len(stewards(it)) == 1)
        (second,) = stewards(it)
        assert number_of(second) > number_of(first)
        (name,) = it.where(KEPT)
        node = it.node(name).neuron
        assert node.unload(KEPT)[0] == 200
        it.wait_until(lambda: len(it.where(KEPT)) == 1)
        (name,) = it.where(KEPT)
        refused = it.node(name).neuron.unload(KEPT, steward=number_of(first))
        assert (refused[0], refused[1]["error"]["code"]) == (409, "stale")


def test_when_the_store_is_gone_what_runs_goes_on_and_what_is_asked_for_is_loaded(tmp_path, quick, own_postgresql):
    with three_gateways(tmp_path / "fleet", quick, own_postgresql.new_database()) as it:
        assert it.gateway.ask("lab/one")[0] == 200
        asyncio.run(stop_under_a_stream(it, own_postgresql))
        it.wait_until(lambda: it.gateway.metric("cortex_store_up") == 0)
        assert it.gateway.ask("lab/one")[0] == 200
        assert it.gateway.ask("lab/two")[0] == 200
        assert len(re.findall(r"WARNING .* cannot be asked", it.gateway.log)) == 1
        own_postgresql.start()
        it.wait_until(lambda: it.gateway.metric("cortex_store_up") == 1)
        assert "answers again" in it.gateway.log


def test_requests_of_all_gateways_together_are_no_more_than_the_engine_takes(crowded):
    def sent() -> float:
        return sum(gateway.metric("cortex_requests_in_flight", model=SLOW) for gateway in crowded.gateways)

    async def run() -> list[float]:
        samples = []
        async with contextlib.AsyncExitStack() as stack:
            crowds = [
                await stack.enter_async_context(crowd(one, [SLOW] * 4, max_tokens=30)) for one in crowded.gateways
            ]
            answering = asyncio.create_task(answers(list(chain(*crowds))))
            while not answering.done():
                samples.append(await asyncio.to_thread(sent))
            assert {answer.status for answer in await answering} == {200}
        return samples

    assert crowded.gateway.ask(SLOW)[0] == 200
    assert max(asyncio.run(run())) == PARALLEL
    assert crowded.loads(SLOW) == 1


def test_a_gateway_that_is_killed_leaves_nothing_behind_when_its_leases_have_ended(crowded):
    victim, heir, _ = crowded.gateways

    async def run() -> None:
        async with crowd(victim, [SLOW] * PARALLEL, stream=True, max_tokens=3000):
            await until(lambda: in_engine(crowded, "requests_processing") == PARALLEL)
            victim.kill()
        async with crowd(heir, [SLOW] * PARALLEL, stream=True, max_tokens=3000) as clients:
            await until(lambda: heir.metric("cortex_requests_in_flight", model=SLOW) == PARALLEL)
            assert in_engine(crowded, "requests_deferred") == 0
            for client in clients:
                client.vanish()

    assert victim.ask(SLOW)[0] == 200
    asyncio.run(run())
    crowded.wait_until(lambda: heir.is_at_rest() and in_engine(crowded, "requests_processing") == 0)
    neuron = crowded.node("a").neuron
    crowded.wait_until(lambda: metric(neuron.url, "cortex_instance_slots_settling") == 0)
    assert neuron.unload(SLOW)[0] == 200, "nobody who is gone is waited for"


def in_engine(it: Fleet, name: str) -> float:
    """Return what the engine of the only node counts."""
    return metric(it.node("a").neuron.endpoint(SLOW)["url"], f"llamacpp:{name}")


def metric(url: str, name: str) -> float:
    """Return the sum of a metric's samples."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=LIMIT_S) as answer:
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)", answer.read().decode(), re.MULTILINE)
    assert found, name
    return sum(map(float, found))


async def stop_under_a_stream(it: Fleet, postgresql: PostgreSQL) -> None:
    """Stop the store while an answer runs, and see it end well."""
    async with connected(it.gateway.port) as client:
        await client.ask(chat("lab/one", stream=True, max_tokens=2000))
        await client.head()
        await client.piece()
        await asyncio.to_thread(postgresql.stop)
        assert (await client.body()).endswith(b"data: [DONE]\n\n")
