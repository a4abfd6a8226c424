"""Engines that are there and do not work: they say nothing, nothing new, or die of what they are asked."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import SSE_HEAD, Turn, chat_body, event, good
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene, until


async def says_nothing(turn: Turn) -> None:
    """Accept and never answer."""
    await turn.body()
    await turn.until_lost()


async def resets(turn: Turn) -> None:
    await turn.body()
    turn.reset()


def says_only(*pieces: bytes, after: bytes = b"") -> object:
    """Say one thing, then others over and over."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(*filter(None, (after,)))
        while not turn.line.is_lost.is_set():
            await turn.events(*pieces)
            await asyncio.sleep(0)

    return script


def used(it: Scene) -> list[int]:
    return [len(engine.turns) for engine in it.engines]


EMPTY = {
    "comments": b": still here\n\n",
    "roles": event(),
    "empty words": event(""),
}


@pytest.mark.parametrize("piece", EMPTY.values(), ids=EMPTY)
@scene(first_token_timeout_s=0.2)
async def test_what_is_no_content_does_not_count_as_the_first_token(it: Scene, piece: bytes) -> None:
    it.use(says_only(piece), good)
    answer = await it.ask(ASK_STREAM)
    assert b"upstream_timeout" in answer.body
    assert b"no first token within 0.2 s" in answer.body


@pytest.mark.parametrize("piece", EMPTY.values(), ids=EMPTY)
@scene(stall_timeout_s=0.2)
async def test_what_is_no_content_does_not_hide_a_stall(it: Scene, piece: bytes) -> None:
    it.use(says_only(piece, after=event("a")), good)
    answer = await it.ask(ASK_STREAM)
    assert b"upstream_timeout" in answer.body
    assert b"no content for 0.2 s" in answer.body
    assert event("a") in answer.body


@scene(nodes=2, first_token_timeout_s=0.1)
async def test_an_engine_that_accepts_and_never_answers_is_noticed(it: Scene) -> None:
    """Its neuron is asked what became of it, and the next request is served."""
    it.use(says_nothing, good)
    asked = [neuron.count(f"GET /models/{MODEL}/endpoint") for neuron in it.neurons]
    assert (await it.ask()).status == 504
    sick = used(it).index(1)
    await it.neurons[sick].until(
        lambda: it.neurons[sick].count(f"GET /models/{MODEL}/endpoint") > asked[sick],
    )
    assert (await it.ask()).status == 200


@scene(nodes=4)
async def test_a_body_that_two_instances_died_of_is_kept_from_the_others_when_its_sender_tries_again(
    it: Scene,
) -> None:
    it.use(resets)
    assert (await it.ask()).error()["code"] == "upstream_broken"
    assert sorted(used(it)) == [0, 0, 1, 1]
    for _ in range(3):
        answer = await it.ask()
        assert (answer.status, answer.error()["code"]) == (502, "poison_request")
        assert answer.header("retry-after") is None
    assert sorted(used(it)) == [0, 0, 1, 1]
    it.use(good)
    assert (await it.ask({**ASK, "seed": 1})).body == chat_body()


@scene(nodes=2)
async def test_many_equal_requests_of_one_dying_instance_are_all_served_by_the_other(it: Scene) -> None:
    """A death counts once against a body, however many of it were there."""
    gate = asyncio.Event()

    async def dies_with_all(turn: Turn) -> None:
        await turn.body()
        if turn.engine is not it.engines[0]:
            return await good(turn)
        await gate.wait()
        turn.reset()

    it.use(dies_with_all)
    asking = [asyncio.ensure_future(it.ask()) for _ in range(16)]
    await until(lambda: sum(used(it)) == 16)
    gate.set()
    assert [(await one).body for one in asking] == [chat_body()] * 16
