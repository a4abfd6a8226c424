"""Nodes that miss polls, vanish, come back changed, or lack what is asked for; real processes, stopped and killed.

| no. | what others got wrong |
|---|---|
| 8 | one missed poll, or a busy node, was taken for death; who asked got a 404 |
| 9 | a model that only an absent node can serve was "not found"; one that none can serve was "try again" |
| 12 | the first node's "I do not have it" silenced the others |
"""

import asyncio
import os
import select
import signal
import time
from collections.abc import Iterator

import openai
import pytest
from tests.integration.fleet.crowd import answers, crowd, until
from tests.integration.fleet.fleet import Entry, Fleet, Node, chat, entry, fleet
from tests.integration.gateway.raw_client import connected

POLL_TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    models = [
        entry("lab/both", quick, 3000, parallel=8),
        entry("lab/stream", slow, 3000, parallel=2),
        entry("lab/cold", quick, 3000),
        entry("lab/first", quick, 3000, pinned_on=["a"]),
        entry("lab/wide", quick, 6000, min_devices=2),
        entry("lab/wider", quick, 6000, min_devices=3),
        entry("lab/huge", quick, 3000, min_device_vram_mb=50_000),
    ]
    nodes = {"a": (8000,), "b": (8000, 8000)}
    folder = tmp_path_factory.mktemp("fault") / "fleet"
    with fleet(folder, nodes, models, gateway="poll_timeout_s = 1\naccess_log = false\n", keep_engines=True) as running:
        yield running


@pytest.fixture
def both(it) -> Entry:
    return it.catalogue["lab/both"]


@pytest.fixture(autouse=True)
def all_well(it) -> Iterator[None]:
    """Begin with nothing loaded and all nodes up, and leave nothing in flight."""
    with it.from_nothing():
        it.wait_until(lambda: it.gateway.metric("cortex_node_healthy") == 2)
        yield


def is_healthy(it: Fleet, node: str) -> bool:
    return it.gateway.metric("cortex_node_healthy", node=node) == 1


def seen(it: Fleet, model_id: str) -> set[str]:
    """Return the nodes on which the gateway believes a model to be loaded."""
    models = {model["id"]: model for model in it.gateway.get("/v1/models")[1]["data"]}
    nodes = models.get(model_id, {"nodes": []})["nodes"]
    return {node["node"] for node in nodes if node["status"] == "loaded"}


def kill_engine(node: Node, model_id: str) -> None:
    os.kill(node.engine_pid(model_id), signal.SIGKILL)


def test_a_node_that_misses_one_poll_is_not_dead(it, both):
    node = it.node("a")
    node.load(both)
    it.wait_until(lambda: it.gateway.ask("lab/both")[0] == 200)
    node.process.send_signal(signal.SIGSTOP)
    select.select([], [], [], POLL_TIMEOUT_S * 1.3)
    node.process.send_signal(signal.SIGCONT)
    assert is_healthy(it, "a")
    assert it.gateway.ask("lab/both")[0] == 200
    assert it.where("lab/both") == ["a"]


def test_a_node_that_misses_three_polls_gets_no_loads_and_serves_what_it_has(it, both):
    node = it.node("a")
    node.load(both)
    it.wait_until(lambda: it.gateway.ask("lab/both")[0] == 200)
    node.process.send_signal(signal.SIGSTOP)
    try:
        begin_s = time.monotonic()
        it.wait_until(lambda: not is_healthy(it, "a"))
        assert time.monotonic() - begin_s > 2 * POLL_TIMEOUT_S, "neither one missed poll nor two are death"
        assert it.gateway.ask("lab/both")[0] == 200, "its engine is well"
        assert it.gateway.ask("lab/cold")[0] == 200
        assert it.node("b").loaded() == {"lab/cold"}
    finally:
        node.process.send_signal(signal.SIGCONT)
    it.wait_until(lambda: is_healthy(it, "a"))
    assert it.loads("lab/both") == it.node("a").loads("lab/both")


def test_a_stream_whose_engine_is_gone_ends_with_an_error_and_the_next_request_is_served(it):
    with it.gateway.sdk() as sdk:
        stream = sdk.chat.completions.create(stream=True, **chat("lab/stream", max_tokens=900))
        next(stream)
        (name,) = it.where("lab/stream")
        kill_engine(it.node(name), "lab/stream")
        with pytest.raises(openai.APIError):
            for _ in stream:
                pass
    assert it.gateway.ask("lab/stream")[0] == 200


def test_a_node_that_comes_back_with_other_models_is_known_by_those(it, both, quick):
    node = it.node("a")
    node.load(both)
    it.wait_until(lambda: seen(it, "lab/both") == {"a"})
    node.process.kill()
    node.process.wait()
    kill_engine(node, "lab/both")
    it.wait_until(lambda: not is_healthy(it, "a"))
    node.restart()
    node.load(entry("lab/brought", quick, 3000))
    it.wait_until(lambda: seen(it, "lab/brought") == {"a"})
    assert not seen(it, "lab/both")
    assert it.gateway.ask("lab/brought")[0] == 200


def test_a_model_that_only_an_absent_node_can_serve_is_unavailable_for_now(it):
    node = it.node("b")
    node.process.kill()
    node.process.wait()
    it.wait_until(lambda: not is_healthy(it, "b"))
    try:
        answer = asyncio.run(asked_once(it, "lab/wide"))
        assert answer.status == 503
        assert answer.header("retry-after") is not None
        assert "b" in answer.error()["message"]
    finally:
        node.restart()
    it.wait_until(lambda: is_healthy(it, "b"))
    assert it.gateway.ask("lab/wide")[0] == 200


async def asked_once(it: Fleet, model: str):
    async with crowd(it.gateway, [model]) as clients:
        return (await answers(clients))[0]


@pytest.mark.parametrize(("model", "lacking"), [("lab/wider", "needs 3"), ("lab/huge", "50000")])
def test_a_model_that_no_node_can_ever_serve_is_not_found_and_each_nodes_lack_is_named(it, model, lacking):
    status, body = it.gateway.ask(model)
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert set(body["error"]["details"]["nodes"]) == {"a", "b"}
    assert all(lacking in reason for reason in body["error"]["details"]["nodes"].values())


def test_a_profile_of_two_devices_only_goes_to_a_node_with_two(it):
    for _ in range(3):
        assert it.gateway.ask("lab/wide")[0] == 200
        assert it.where("lab/wide") == ["b"]
        assert it.node("b").neuron.report("lab/wide")["devices"] == [0, 1]
        it.unload_all()
    assert it.node("a").loads("lab/wide") == 0


def test_what_the_first_node_lacks_the_second_is_asked_for_at_once(it, quick):
    for name, other in (("a", "b"), ("b", "a")):
        it.node(name).load(entry(f"lab/only-{name}", quick, 3000))
        assert it.node(other).neuron.get(f"/models/lab/only-{name}/endpoint")[0] == 404
    it.wait_until(lambda: seen(it, "lab/only-a") and seen(it, "lab/only-b"))
    for model in ("lab/only-a", "lab/only-b") * 2:
        assert it.gateway.ask(model)[0] == 200


def test_what_the_first_node_fails_at_the_second_does_within_the_same_request(it):
    board = it.node("a").board
    board.break_engines(True)
    try:
        assert it.gateway.ask("lab/first")[0] == 200
    finally:
        board.break_engines(False)
    assert it.where("lab/first") == ["b"]
    assert it.node("a").loads("lab/first") == 1, "it was asked first"


def test_an_instance_that_dies_is_replaced_by_the_other_within_the_same_request(it, both):
    for name in ("a", "b"):
        it.node(name).load(both)
    it.wait_until(lambda: seen(it, "lab/both") == {"a", "b"})
    loads = it.loads("lab/both")
    kill_engine(it.node("a"), "lab/both")
    assert [it.gateway.ask("lab/both")[0] for _ in range(6)] == [200] * 6
    assert it.loads("lab/both") == loads


def test_a_neuron_that_is_killed_in_the_middle_loses_no_request_and_its_engines_are_adopted(it, both):
    node = it.node("a")
    node.load(both)
    node.load(it.catalogue["lab/stream"])
    it.wait_until(lambda: seen(it, "lab/both") == seen(it, "lab/stream") == {"a"})
    before = {model: node.neuron.report(model)["generation"] for model in ("lab/both", "lab/stream")}

    async def run() -> None:
        async with connected(it.gateway.port) as client:
            await client.ask(chat("lab/stream", stream=True, max_tokens=250))
            assert (await client.head()).status == 200
            assert await client.piece()
            node.process.kill()
            node.process.wait()
            async with crowd(it.gateway, ["lab/both"] * 20) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}
            await asyncio.to_thread(node.restart)
            async with crowd(it.gateway, ["lab/both"] * 20) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}
            assert (await client.body()).endswith(b"data: [DONE]\n\n")

    asyncio.run(run())
    assert {model: node.neuron.report(model)["generation"] for model in before} == before
    assert it.node("b").loaded() == set()


def test_a_neuron_that_is_killed_while_it_loads_leaves_nobody_waiting(it):
    async def run() -> None:
        for node in it.nodes.values():
            node.board.hold_loads(True)
        async with crowd(it.gateway, ["lab/cold"] * 3) as clients:
            await until(lambda: any("loading" in node.states().values() for node in it.nodes.values()))
            (loader,) = [node for node in it.nodes.values() if "loading" in node.states().values()]
            loader.process.kill()
            loader.process.wait()
            for node in it.nodes.values():
                node.board.hold_loads(False)
            assert {answer.status for answer in await answers(clients)} == {200}
            await asyncio.to_thread(loader.restart)

    asyncio.run(run())
    it.wait_until(lambda: it.gateway.metric("cortex_node_healthy") == 2)
    assert it.gateway.ask("lab/cold")[0] == 200
