"""Responses in the background: answered at once, kept at their end, stopped by their id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.rig import Answer, Client, Rig, rig, whole

from cortex.contract.error import QueueFull

ASKED = b'{"model":"m","input":"hi","background":true}'
REPLY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


def play(test: Callable[[Rig, Client, str], Awaitable[None]], plan: Any = "wait") -> None:
    async def run() -> None:
        with rig() as it:
            it.plane.keep = lambda kept: asyncio.run_coroutine_threadsafe(
                it.shelf.put(kept), asyncio.get_running_loop()
            )
            it.leases.next(plan if plan != "place" else it.place())
            client = it.post(ASKED, path=b"/v1/responses")
            answer = msgspec.json.decode(client.answer.body)
            assert (client.answer.status, answer["status"], answer["background"]) == (200, "queued", True)
            await rest()
            await test(it, client, answer["id"])

    asyncio.run(run())


async def rest() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def ask(it: Rig, method: bytes, path: str) -> Answer:
    client = it.request(method, path.encode())
    client.end()
    await rest()
    return client.answer


async def status_of(it: Rig, response_id: str) -> str:
    return str(msgspec.json.decode((await ask(it, b"GET", f"/v1/responses/{response_id}")).body)["status"])


def test_it_runs_on_without_its_client_and_is_kept() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        assert await status_of(it, response_id) == "queued"
        it.upstream.accept().say(whole(REPLY))
        await rest()
        assert await status_of(it, response_id) == "completed"
        assert [record.outcome for record in it.records] == ["ok", "ok"]

    play(test, "place")


def test_one_that_fails_is_kept_with_its_error() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        answer = await ask(it, b"GET", f"/v1/responses/{response_id}")
        told = msgspec.json.decode(answer.body)
        assert (told["status"], "wait" in told["error"]["message"]) == ("failed", True)

    play(test, QueueFull())


@pytest.mark.parametrize("is_sent", [False, True])
def test_one_that_is_cancelled_is_stopped_and_stays_so(is_sent: bool) -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        engine = None
        if is_sent:
            it.leases.grant(it.place())
            engine = it.upstream.accept()
        answer = await ask(it, b"POST", f"/v1/responses/{response_id}/cancel")
        assert msgspec.json.decode(answer.body)["status"] == "cancelled"
        assert engine is None or engine.is_dropped
        assert it.leases.open == {}
        assert await status_of(it, response_id) == "cancelled"

    play(test)


def test_a_gateway_that_stops_keeps_that_it_failed() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.plane.stop()
        it.plane.start()
        await rest()
        assert await status_of(it, response_id) == "failed"

    play(test)
