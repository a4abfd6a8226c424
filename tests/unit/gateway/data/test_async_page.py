"""Answers that take time: the body is taken in first, the client may leave meanwhile, and errors are told."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.unit.gateway.data.rig import Client, Rig, rig

from cortex.contract.error import ModelNotFound
from cortex.dialects.anthropic import ANTHROPIC
from cortex.gateway.data.async_page import AsyncPage, Write
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.page import Answer


def asked(it: Rig, write: Write) -> Client:
    client = Client()
    client.exchange = Exchange(client, b"POST", b"/x", b"", [])  # type: ignore[arg-type]
    client.exchange.handler = AsyncPage(it.plane, client.exchange, write, b"id", ANTHROPIC)
    return client


def play(test: Callable[[Rig], Awaitable[None]], **limit: int) -> None:
    async def run() -> None:
        with rig(**limit) as it:
            await test(it)
            await it.plane.tasks.stop()

    asyncio.run(run())


async def rest(it: Rig) -> None:
    """Until nothing is running."""
    for _ in range(50):
        await asyncio.sleep(0)
    assert not len(it.plane.tasks)


async def echo(body: bytes) -> Answer:
    return Answer(200, body)


def test_the_body_is_taken_in_before_it_is_answered() -> None:
    async def test(it: Rig) -> None:
        client = asked(it, echo)
        client.body(b"ab")
        client.body(b"cd")
        client.end()
        await rest(it)
        assert (client.answer.status, client.answer.body) == (200, b"abcd")
        assert client.answer.headers["request-id"] == "id"

    play(test)


def test_an_error_is_told_in_the_callers_dialect() -> None:
    async def write(body: bytes) -> Answer:
        raise ModelNotFound("none such")

    async def test(it: Rig) -> None:
        client = asked(it, write)
        client.end()
        await rest(it)
        assert client.answer.status == 404
        assert msgspec.json.decode(client.answer.body)["error"]["type"] == "not_found_error"

    play(test)


def test_a_defect_is_told_of_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def write(body: bytes) -> Answer:
        raise KeyError("oops")

    async def test(it: Rig) -> None:
        client = asked(it, write)
        client.end()
        await rest(it)
        assert client.answer.status == 500

    play(test)
    assert "KeyError" in caplog.text


def test_a_body_over_the_limit_is_refused_at_once() -> None:
    async def test(it: Rig) -> None:
        client = asked(it, echo)
        client.body(b"x" * 11)
        assert client.answer.status == 413
        client.end()
        await rest(it)
        assert client.ended == 1

    play(test, max_body_bytes=10)


@pytest.mark.parametrize("is_shutdown", [False, True])
def test_the_work_ends_when_the_client_leaves_or_the_gateway_stops(is_shutdown: bool) -> None:
    ended: list[str] = []

    async def write(body: bytes) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")
        raise AssertionError

    async def test(it: Rig) -> None:
        client = asked(it, write)
        client.end()
        await asyncio.sleep(0)
        if is_shutdown:
            assert client.exchange.handler is not None
            client.exchange.handler.on_shutdown()
        else:
            client.leave()
        await rest(it)
        assert ended == ["ended"]

    play(test)
