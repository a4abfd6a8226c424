"""Requests that wait: how long, what they hear meanwhile, who is let in, whose turn it is, and that leaving is free."""

import asyncio
import contextlib

import pytest
from tests.integration.gateway.hostile_engine import DONE, Turn, good
from tests.integration.gateway.raw_client import RawClient
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene, until


async def waits(turn: Turn) -> None:
    """Answer when the test says so."""
    await turn.body()
    await turn.engine.go_on.wait()
    await good(turn)


def hold(it: Scene) -> None:
    """Let the engines wait for ``go``."""
    it.use(waits)
    for engine in it.engines:
        engine.go_on = asyncio.Event()


def go(it: Scene) -> None:
    for engine in it.engines:
        engine.go_on.set()


async def asking(it: Scene, stack: contextlib.AsyncExitStack, body: dict, *headers: str) -> RawClient:
    client = await stack.enter_async_context(it.client())
    await client.ask(body, *headers)
    return client


# cold starts


@scene(loaded=False, unstreamed_wait_s=0.05, poll_s=0.02)
async def test_an_unstreamed_request_waits_a_bounded_time_and_is_told_how_far_the_load_is(it: Scene) -> None:
    it.neuron.load_gate.clear()
    answer = await it.ask(ASK)
    assert answer.status == 503
    assert int(answer.header("retry-after") or 0) >= 1
    error = answer.error()
    assert error["code"] == "model_loading"
    details = error["details"]
    assert details["model"] == MODEL
    assert details["node"] == "n0"
    assert details["state"] in ("loading", "starting")
    assert details["waited_s"] >= 0.05
    assert "eta_s" not in details, "what is not known is left out"
    assert it.neuron.models[MODEL].status == "loading", "the load goes on"
    it.neuron.load_gate.set()
    await until(lambda: it.neuron.models[MODEL].status == "loaded")
    assert (await it.ask(ASK_STREAM)).status == 200
    assert it.neuron.count("POST /models/load") == 1


@scene(loaded=False, heartbeat_after_s=0.01, heartbeat_every_s=0.01, unstreamed_wait_s=0.01, poll_s=0.02)
async def test_a_stream_waits_on_and_hears_in_comments_what_its_model_is_at(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        assert (await client.head()).status == 200
        heard = [await client.piece() for _ in range(3)]
        while heard[-1] != b": loading on n0\n\n":
            heard.append(await client.piece())
        it.neuron.load_gate.set()
        rest = await client.body()
    assert all(comment.startswith(b": ") and comment.endswith(b"\n\n") for comment in heard)
    assert rest.endswith(DONE)


@scene(loaded=False)
async def test_of_fifty_first_requests_one_leaves_and_the_one_load_goes_on(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await asking(it, stack, ASK) for _ in range(50)]
        await until(lambda: it.dispatcher.waiting() == 50)
        clients.pop(0).vanish()
        await until(lambda: it.dispatcher.waiting() == 49)
        it.neuron.load_gate.set()
        assert {(await client.answer()).status for client in clients} == {200}
    assert it.neuron.count("POST /models/load") == 1


@scene(loaded=False)
async def test_a_load_for_which_nobody_waits_any_more_is_finished_and_serves_the_next(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK)
        await it.neuron.until(lambda: it.neuron.loads != [])
        client.vanish()
        await until(lambda: not it.dispatcher.waiting())
    it.neuron.load_gate.set()
    assert (await it.ask()).status == 200
    assert it.neuron.count("POST /models/load") == 1


# bounds


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@scene(parallel=1, max_waiting=2)
async def test_who_comes_when_the_queue_is_full_is_told_so_before_any_byte(it: Scene, ask: dict) -> None:
    hold(it)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await asking(it, stack, ASK) for _ in range(3)]
        await until(lambda: it.dispatcher.waiting() == 2)
        answer = await it.ask(ask)
        assert (answer.status, answer.error()["code"]) == (503, "queue_full")
        assert int(answer.header("retry-after") or 0) >= 1
        go(it)
        assert [(await client.answer()).status for client in clients] == [200] * 3


@scene(parallel=1, max_waiting_per_caller=2)
async def test_who_has_too_many_waiting_is_told_so_and_others_are_not(it: Scene) -> None:
    hold(it)
    greedy, other = "authorization: Bearer greedy", "authorization: Bearer other"
    async with contextlib.AsyncExitStack() as stack:
        clients = [await asking(it, stack, ASK, greedy) for _ in range(3)]
        await until(lambda: it.dispatcher.waiting() == 2)
        answer = await it.ask(ASK, greedy)
        assert (answer.status, answer.error()["code"]) == (429, "too_many_requests")
        assert answer.error()["type"] == "rate_limit_error"
        assert int(answer.header("retry-after") or 0) >= 1
        clients.append(await asking(it, stack, ASK, other))
        await until(lambda: it.dispatcher.waiting() == 3)
        go(it)
        assert [(await client.answer()).status for client in clients] == [200] * 4


# turns


@scene(parallel=1)
async def test_a_caller_with_one_request_does_not_wait_for_all_of_anothers(it: Scene) -> None:
    hold(it)
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number, who in enumerate("aaaaab"):
            clients.append(await asking(it, stack, {**ASK, "user": who}, f"authorization: Bearer {who}"))
            await until(lambda number=number: it.dispatcher.waiting() + len(it.turns) == number + 1)
        go(it)
        for client in clients:
            assert (await client.answer()).status == 200
    assert [turn.json()["user"] for turn in it.turns] == ["a", "a", "b", "a", "a", "a"]


@scene(nodes=3)
async def test_a_conversation_stays_with_its_instance_and_different_ones_are_spread(it: Scene) -> None:
    def used() -> list[int]:
        return [len(engine.turns) for engine in it.engines]

    for _ in range(6):
        assert (await it.ask(ASK, "x-conversation-id: tuesday")).status == 200
    assert sorted(used()) == [0, 0, 6]
    for number in range(30):
        assert (await it.ask({**ASK, "messages": [{"role": "user", "content": f"about {number}"}]})).status == 200
    assert min(used()) >= 3, "chance of less: one in ten thousand, and the names are always the same"


# leaving


@scene(parallel=1)
async def test_a_thousand_who_leave_while_they_wait_leave_nothing_behind(it: Scene) -> None:
    hold(it)
    async with it.client() as first:
        await first.ask(ASK)
        await until(lambda: len(it.turns) == 1)
        for _ in range(20):
            async with contextlib.AsyncExitStack() as stack:
                clients = [await asking(it, stack, ASK) for _ in range(50)]
                await until(lambda: it.dispatcher.waiting() == 50)
                for client in clients:
                    client.vanish()
                await until(lambda: it.dispatcher.waiting() == 0)
        assert it.gateway.in_flight() == 1
        go(it)
        assert (await first.answer()).status == 200
    assert len(it.turns) == 1
    assert [record.outcome for record in it.records].count("client_gone") == 1000
