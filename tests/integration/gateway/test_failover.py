"""An instance that fails is replaced by another one while nothing of an answer was given; never after."""

import asyncio
import functools

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import (
    DONE,
    SSE_HEAD,
    Turn,
    chat_body,
    chunk,
    event,
    good,
    json_answer,
    last_event,
)
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene, until

WHOLE = event() + event("hel") + event("lo") + last_event() + DONE


async def resets(turn: Turn) -> None:
    await turn.body()
    turn.reset()


async def closes_in_the_headers(turn: Turn) -> None:
    await turn.body()
    await turn.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev")
    await turn.close()


async def dies_after_its_head(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    turn.reset()


async def dies_after_the_head_of_a_body(turn: Turn) -> None:
    await turn.body()
    await turn.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n")
    turn.reset()


async def dies_over_the_prompt(turn: Turn) -> None:
    """Comments and a role are all that it says, which is no content."""
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.events(b":\n\n", event(), b":\n\n", event(""))
    await turn.close()


async def ends_without_content(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.events(b":\n\n", event())
    await turn.finish()


def used(it: Scene) -> list[int]:
    """How many requests each engine was sent."""
    return [len(engine.turns) for engine in it.engines]


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("dies", [resets, closes_in_the_headers, dies_after_the_head_of_a_body])
@scene(nodes=2)
async def test_an_instance_that_dies_before_it_answers_is_replaced(it: Scene, dies, ask: dict) -> None:
    it.use(dies, good)
    answer = await it.ask(ask)
    assert answer.status == 200
    assert answer.body == (WHOLE if ask is ASK_STREAM else chat_body())
    assert used(it) == [1, 1]
    assert it.turns[0].text == it.turns[1].text, "the other one is sent the very same request"
    dead = next(name for name, engine in zip(("n0", "n1"), it.engines, strict=True) if engine.turns == it.turns[:1])
    assert await it.metric("cortex_requests_total") == 2, "every attempt counts, where it was made"
    assert await it.metric("cortex_request_errors_total") == 1
    assert await it.metric("cortex_request_errors_total", node=dead) == 1


@pytest.mark.parametrize("dies", [dies_after_its_head, dies_over_the_prompt, ends_without_content])
@scene(nodes=2)
async def test_an_instance_that_dies_before_its_first_content_is_replaced(it: Scene, dies) -> None:
    it.use(dies, good)
    answer = await it.ask(ASK_STREAM)
    assert answer.status == 200
    assert answer.body.endswith(event("hel") + event("lo") + last_event() + DONE)
    assert answer.body.count(b'"hel"') == 1
    assert b'"error"' not in answer.body
    assert used(it) == [1, 1]


@scene(nodes=2)
async def test_an_instance_that_dies_after_its_first_content_is_not_replaced(it: Scene) -> None:
    async def dies(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("a"))
        await turn.engine.go_on.wait()
        turn.reset()

    for engine in it.engines:
        engine.go_on = asyncio.Event()
    it.use(dies, good)
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.head()
        assert await client.piece() == event("a")
        for engine in it.engines:
            engine.go_on.set()
        rest = await client.body()
    assert b"upstream_broken" in rest
    assert b"hel" not in rest, "two engines' words never mix"
    assert len(it.turns) == 1


@scene(nodes=2)
async def test_an_instance_that_dies_in_an_unstreamed_answer_is_not_replaced_once_bytes_went_out(it: Scene) -> None:
    async def dies(turn: Turn) -> None:
        await turn.body()
        await turn.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
        await it.gone_out.wait()
        turn.reset()

    it.gone_out = asyncio.Event()
    it.use(dies, good)
    async with it.client() as client:
        await client.ask(ASK)
        assert (await client.head()).status == 200
        assert await client.piece() == b"{"
        it.gone_out.set()
        assert await client.rest() == b""
    assert len(it.turns) == 1


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@scene(nodes=4)
async def test_a_query_of_death_costs_two_instances_at_most(it: Scene, ask: dict) -> None:
    it.use(resets)
    answer = await it.ask(ask)
    assert answer.status == 502
    assert answer.error()["code"] == "upstream_broken"
    assert sorted(used(it)) == [0, 0, 1, 1]


@scene(nodes=2)
async def test_an_instance_that_refuses_connections_is_replaced_at_once(it: Scene) -> None:
    await it.engines[0].stop()
    for _ in range(4):
        assert (await it.ask()).body == chat_body()
    assert used(it) == [0, 4]
    assert await it.metric("cortex_requests_total", node="n1") == 4
    assert await it.metric("cortex_request_errors_total", node="n1") == 0


@scene(poll_s=0.02)
async def test_an_engine_that_is_restarted_is_waited_for(it: Scene) -> None:
    """Connection refused, then there again: the request is served when it is."""
    await it.engine.stop()
    async with it.client() as client:
        await client.ask(ASK)
        asked = it.neuron.count(f"GET /models/{MODEL}/endpoint")
        await it.neuron.until(lambda: it.neuron.count(f"GET /models/{MODEL}/endpoint") > asked)
        await it.engine.start()
        assert (await client.answer()).body == chat_body()


def answers(status: str) -> object:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(b'{"error":{"message":"from the fence"}}', status))

    return script


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Service Unavailable"])
@scene()
async def test_a_fence_that_no_longer_fits_makes_the_gateway_ask_for_the_endpoint_again(it: Scene, status: str) -> None:
    """The model was loaded anew, which nobody has told yet: the port is another model's by now, its fence says so."""
    it.use(answers(status), good)
    held = it.neuron.models[MODEL]
    it.neuron.models[MODEL] = msgspec.structs.replace(held, generation=held.generation + 1)
    it.neuron.engine_url = it.neuron.engine_url.replace("nonce", "second")
    asked = it.neuron.count(f"GET /models/{MODEL}/endpoint")
    answer = await it.ask(ASK_STREAM)
    assert answer.body == WHOLE
    assert it.neuron.count(f"GET /models/{MODEL}/endpoint") == asked + 1
    assert [turn.path for turn in it.turns] == ["/i/nonce/v1/chat/completions", "/i/second/v1/chat/completions"]
    assert await it.metric("cortex_request_errors_total") == 0


@scene(nodes=2)
async def test_a_fence_that_no_longer_fits_is_no_reason_to_fail_where_another_replica_is(it: Scene) -> None:
    it.use(answers("404 Not Found"), good)
    assert (await it.ask()).body == chat_body()
    assert len(it.turns) == 2


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable"])
@scene()
async def test_an_instance_that_says_so_twice_is_believed_and_nobody_else_waits_for_it(it: Scene, status: str) -> None:
    """An engine without that path says 404 too: its neuron is asked, then the caller gets the engine's answer."""
    it.use(answers(status))
    for number in range(1, 9):
        answer = await it.ask(path="/v1/audio/speech")
        assert (answer.status, answer.body) == (int(status[:3]), b'{"error":{"message":"from the fence"}}')
        assert len(it.turns) == 2 * number
        assert it.replica().is_ready, "the instance is at rest, whoever else wants it"


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Service Unavailable"])
@scene(fence="")
async def test_where_there_is_no_fence_the_engines_refusal_is_its_own(it: Scene, status: str) -> None:
    it.use(answers(status))
    assert (await it.ask()).status == int(status[:3])
    assert len(it.turns) == 1


@scene()
async def test_a_connection_that_the_engine_closed_between_requests_is_not_used_again(it: Scene) -> None:
    async def closes_afterwards(turn: Turn) -> None:
        await good(turn)
        turn.line.writer.close()

    it.use(closes_afterwards)
    async with it.client() as client:
        for _ in range(3):
            await client.ask(ASK)
            assert (await client.answer()).body == chat_body()
            await until(lambda: all(line.is_lost.is_set() for line in it.engine.lines))
    assert len(it.turns) == 3
    assert len(it.engine.lines) == 3


@pytest.mark.parametrize("how", ["close", "reset"])
@scene()
async def test_a_stale_connection_is_replaced_and_the_request_executed_once(it: Scene, how: str) -> None:
    """The engine closes just as the next request is on its way: it has seen nothing of it."""

    async def is_deaf_afterwards(turn: Turn) -> None:
        await good(turn)
        turn.line.reader.readuntil = functools.partial(dies_at_the_next_request, turn)

    async def dies_at_the_next_request(turn: Turn, _separator: bytes) -> bytes:
        await turn.line.reader.read(1)
        turn.reset() if how == "reset" else turn.line.transport.abort()
        await turn.until_lost()
        raise ConnectionResetError

    it.use(is_deaf_afterwards, good)
    async with it.client() as client:
        for _ in range(2):
            await client.ask(ASK_STREAM)
            assert (await client.answer()).body == WHOLE
    assert len(it.turns) == 2, "one execution for each request"
    assert len(it.engine.lines) == 2
    assert await it.metric("cortex_request_errors_total") == 0
    assert it.neuron.count(f"GET /models/{MODEL}/endpoint") == 1, (
        "a stale connection is no reason to suspect the engine"
    )


@scene()
async def test_a_fresh_connection_that_dies_is_not_taken_for_a_stale_one(it: Scene) -> None:
    it.use(resets, good)
    assert (await it.ask()).status == 502
    assert len(it.turns) == 1


@scene()
async def test_a_failed_instance_is_used_again_once_its_neuron_vouches_for_it(it: Scene) -> None:
    it.use(resets, good)
    assert (await it.ask()).status == 502
    assert (await it.ask()).body == chat_body()
    assert len(it.turns) == 2


@scene(nodes=2, stall_timeout_s=0.05)
async def test_a_slow_but_living_engine_is_not_replaced(it: Scene) -> None:
    async def stalls(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")))
        await turn.until_lost()

    it.use(stalls, good)
    assert b"upstream_timeout" in (await it.ask(ASK_STREAM)).body
    assert len(it.turns) == 1


@scene(nodes=2, first_token_timeout_s=0.05)
async def test_an_engine_that_took_too_long_over_the_prompt_is_not_replaced(it: Scene) -> None:
    async def stalls(turn: Turn) -> None:
        await turn.body()
        await turn.until_lost()

    it.use(stalls, good)
    assert (await it.ask(ASK_STREAM)).status == 504
    assert len(it.turns) == 1


@scene(nodes=2, loaded=False)
async def test_a_model_that_dies_where_it_was_loaded_is_loaded_elsewhere(it: Scene) -> None:
    it.use(resets, good)
    assert (await it.ask()).body == chat_body()
    assert used(it) == [1, 1]
    assert [neuron.count("POST /models/load") for neuron in it.neurons] == [1, 1]
