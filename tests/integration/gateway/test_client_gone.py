"""A client that leaves stops its engine at once, whatever the engine is doing just then; nothing of it stays behind."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chunk, event, good
from tests.integration.gateway.raw_client import RawClient
from tests.integration.gateway.scene import ASK, ASK_STREAM, Scene, scene, until


async def is_silent(turn: Turn) -> None:
    await turn.body()
    await turn.until_lost()


async def is_silent_after_its_head(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.until_lost()


async def is_silent_after_content(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD + chunk(event("a")))
    await turn.until_lost()


async def is_silent_in_a_body(turn: Turn) -> None:
    await turn.body()
    await turn.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
    await turn.until_lost()


async def talks_on(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    while not turn.line.is_lost.is_set():
        await turn.events(event("a"))
        await asyncio.sleep(0)


LEAVING = {
    "closes": RawClient.close,
    "vanishes": lambda client: asyncio.sleep(0, client.vanish()),
    "half-closes": lambda client: asyncio.sleep(0, client.half_close()),
}


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize(
    ("script", "ask"),
    [
        (is_silent, ASK),
        (is_silent, ASK_STREAM),
        (is_silent_after_its_head, ASK_STREAM),
        (is_silent_after_content, ASK_STREAM),
        (is_silent_in_a_body, ASK),
        (talks_on, ASK_STREAM),
    ],
    ids=["silent", "silent-stream", "silent-after-head", "silent-after-content", "silent-in-body", "talking"],
)
@scene()
async def test_the_engine_is_stopped_when_its_client_leaves(it: Scene, script, ask: dict, leave: str) -> None:
    it.use(script, good)
    loop = asyncio.get_running_loop()
    async with it.client() as client:
        await client.ask(ask)
        turn = await it.engine.turn(0)
        if script in (is_silent_after_content, is_silent_in_a_body, talks_on):
            await client.head()
            assert await client.piece()
        left_s = loop.time()
        await LEAVING[leave](client)
        await turn.until_lost()
        print(f"the engine's connection was closed after {(loop.time() - left_s) * 1e3:.1f} ms")
    await until(lambda: it.gateway.in_flight() == 0)
    assert len(it.turns) == 1, "nothing is tried for nobody"
    assert (await it.ask()).status == 200, "the instance is not suspected"
    assert await it.metric("cortex_request_errors_total") == 0


@pytest.mark.parametrize(("last", "outcome"), [(DONE, "ok"), (event("b"), "client_gone")], ids=["done", "not-done"])
@scene()
async def test_a_client_that_leaves_on_done_has_had_everything(it: Scene, last: bytes, outcome: str) -> None:
    """After [DONE] the openai SDK waits for the end of the message for an instant only, then it closes."""

    async def ends_late(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")) + chunk(last))
        await turn.until_lost()

    it.use(ends_late)
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.head()
        got = b""
        while not got.endswith(last):
            got += await client.piece()
    await it.at_rest()
    assert [record.outcome for record in it.records] == [outcome]


@scene(loaded=False)
async def test_a_client_that_leaves_while_its_model_loads_is_forgotten_and_the_load_goes_on(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await it.neuron.until(lambda: it.neuron.loads != [])
        client.vanish()
        await until(lambda: it.gateway.in_flight() == 0)
    it.neuron.load_gate.set()
    assert (await it.ask()).status == 200
    assert it.neuron.count("POST /models/load") == 1
    assert len(it.turns) == 1


@scene(parallel=1)
async def test_a_client_that_leaves_the_queue_gives_its_turn_to_the_next(it: Scene) -> None:
    done = asyncio.Event()

    async def takes_its_time(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")))
        await done.wait()
        await turn.events(DONE)
        await turn.finish()

    it.use(takes_its_time, good)
    async with it.client() as first, it.client() as leaver, it.client() as last:
        await first.ask(ASK_STREAM)
        await it.engine.turn(0)
        await leaver.ask(ASK_STREAM)
        await until(lambda: it.dispatcher.waiting() == 1)
        await last.ask(ASK)
        await until(lambda: it.dispatcher.waiting() == 2)
        leaver.vanish()
        await until(lambda: it.dispatcher.waiting() == 1)
        done.set()
        assert (await first.answer()).body.endswith(DONE)
        assert (await last.answer()).status == 200
    assert len(it.turns) == 2


@scene()
async def test_a_client_that_leaves_while_the_engine_is_being_connected_to_leaves_no_connection(it: Scene) -> None:
    async with it.client() as client:
        await client.ask(ASK)
        client.vanish()
    await it.at_rest()
    assert all(line.is_lost.is_set() or not line.is_busy for line in it.engine.lines)


@scene()
async def test_a_pipelined_request_of_a_gone_client_is_not_executed(it: Scene) -> None:
    it.use(is_silent_after_content, good)
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.ask(ASK)
        await it.engine.turn(0)
        client.vanish()
        await it.turns[0].until_lost()
    await it.at_rest()
    assert len(it.turns) == 1


@scene(shutdown_grace_s=1)
async def test_a_gateway_that_stops_tells_its_running_streams(it: Scene) -> None:
    it.use(is_silent_after_content)
    async with it.client() as client, it.client() as idle:
        await idle.ask(b"", path="/livez", method="GET")
        await idle.answer()
        await client.ask(ASK_STREAM)
        await client.head()
        assert await client.piece() == event("a")
        await it.gateway.stop(0.01)
        assert b"shutting_down" in await client.body()
        assert await client.rest() == b""
        assert await idle.rest() == b""
    await it.turns[0].until_lost()


@scene()
async def test_a_gateway_that_stops_lets_a_running_stream_finish(it: Scene) -> None:
    go_on = asyncio.Event()

    async def finishes(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")))
        await go_on.wait()
        await turn.events(event("b"), DONE)
        await turn.finish()

    it.use(finishes)
    async with it.client() as client, asyncio.TaskGroup() as group:
        await client.ask(ASK_STREAM)
        await client.head()
        assert await client.piece() == event("a")
        stopping = group.create_task(it.gateway.stop(20))
        await until(lambda: it.gateway._door.is_stopping)
        with pytest.raises(ConnectionError):
            await it.get("/livez")
        go_on.set()
        assert await client.body() == event("b") + DONE
        assert await client.rest() == b""
        await stopping
