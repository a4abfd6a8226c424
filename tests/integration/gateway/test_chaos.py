"""Clients and engines that do anything at any moment, by a seeded die, and what is true all the same.

1. a client that stays gets one whole answer, or a stream that ends with either [DONE] or one error;
2. an answer is the work of one engine, in order and without a gap;
3. afterwards nothing is in flight, no engine is busy, and nothing was logged as an error (``scene`` sees to that).
"""

import asyncio
import contextlib
from random import Random

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chat_body, event, json_answer, last_event
from tests.integration.gateway.raw_client import Answer, RawClient, request
from tests.integration.gateway.scene import ASK, Scene, scene

from cortex.fleet import circuit

CLIENTS, REQUESTS = 12, 30
WORDS = 6


class Whim:
    """What engines do, drawn anew for every request."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.number = 0

    async def script(self, turn: Turn) -> None:
        self.number += 1
        name = f"t{self.number}"
        mood = self.rng.choices(("good", "dies", "closes", "garbage", "gone", "refuses"), (60, 8, 5, 4, 4, 4))[0]
        if mood == "dies" and self.rng.random() < 0.3:
            turn.reset()
            return
        await turn.body()
        if mood in ("gone", "refuses"):
            await turn.finish(json_answer(b'{"error":{"message":"no"}}', "404 Gone" if mood == "gone" else "400 No"))
        elif turn.json().get("stream"):
            await self.stream(turn, name, mood)
        elif mood == "good":
            await turn.finish(json_answer(chat_body(name)))
        else:
            await self.fail(turn, mood, json_answer(chat_body(name)))

    async def stream(self, turn: Turn, name: str, mood: str) -> None:
        said = [event(), *(event(f"{name}.{number}") for number in range(WORDS)), last_event(), DONE]
        stop = len(said) if mood == "good" else self.rng.randrange(len(said))
        await turn.send(SSE_HEAD)
        for one in said[:stop]:
            await turn.events(one)
            for _ in range(self.rng.choice((0, 0, 1, 5))):
                await asyncio.sleep(0)
        if mood == "good":
            await turn.finish()
            if self.rng.random() < 0.2:
                turn.line.writer.close()
        else:
            await self.fail(turn, mood, said[stop])

    async def fail(self, turn: Turn, mood: str, rest: bytes) -> None:
        if mood == "garbage":
            await turn.send(b"\x00garbage\r\n")
            await turn.close()
        elif mood == "closes":
            await turn.send(rest[: self.rng.randrange(len(rest))])
            await turn.close()
        else:
            turn.reset()


async def use(it: Scene, rng: Random) -> list[tuple[dict, Answer]]:
    """One client's life: request after request, on few connections, sometimes leaving in the middle of something."""
    got: list[tuple[dict, Answer]] = []
    left = REQUESTS
    while left > 0:
        async with it.client() as client:
            while left > 0:
                asks = [{**ASK, "stream": rng.random() < 0.7} for _ in range(rng.choice((1, 1, 1, 3)))]
                left -= len(asks)
                data = b"".join(request(ask) for ask in asks)
                if rng.random() < 0.15:
                    await leaves(client, rng, data)
                    break
                await client.send(data)
                answers = await taken(client, len(asks))
                got += zip(asks, answers, strict=False)
                if len(answers) < len(asks) or answers[-1].header("connection") == "close":
                    break
    return got


async def leaves(client: RawClient, rng: Random, data: bytes) -> None:
    await client.send(data[: rng.randrange(1, len(data) + 1)])
    for _ in range(rng.choice((0, 1, 3, 20))):
        await asyncio.sleep(0)
    rng.choice((client.vanish, client.half_close))()


async def taken(client: RawClient, count: int) -> list[Answer]:
    """Take so many answers, fewer when the connection ends before: only a broken answer may end it."""
    answers = []
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while len(answers) < count:
            answers.append(await client.answer())
    return answers


def check(ask: dict, answer: Answer) -> None:
    """Assert that it is one whole answer of one engine, or one error."""
    if answer.status != 200:
        assert answer.status in (400, 404, 502), answer
        assert "message" in answer.json()["error"]
        return
    if not ask["stream"]:
        assert answer.json()["choices"][0]["message"]["content"].startswith("t")
        return
    lines = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n\n") if line.strip()]
    last = lines.pop()
    chunks = [msgspec.json.decode(line) for line in lines]
    words = [word for chunk in chunks if (word := chunk["choices"][0]["delta"].get("content"))]
    assert len({word.partition(".")[0] for word in words}) <= 1, words
    assert [int(word.partition(".")[2]) for word in words] == list(range(len(words)))
    if last == b"[DONE]":
        assert len(words) == WORDS
    else:
        assert set(msgspec.json.decode(last)) == {"error"}


@pytest.mark.parametrize("seed", range(4))
@scene(nodes=2)
async def test_anything_may_happen(it: Scene, seed: int) -> None:
    it.use(Whim(Random(seed)).script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(circuit, "REST_FIRST_S", 0.001)
        patch.setattr(circuit, "REST_MAX_S", 0.001)
        lives = await asyncio.gather(*[use(it, Random(seed * 100 + number)) for number in range(CLIENTS)])
        await it.at_rest()
    answers = [pair for life in lives for pair in life]
    for ask, answer in answers:
        check(ask, answer)
    assert sum(answer.status == 200 for _, answer in answers) > len(answers) // 2
