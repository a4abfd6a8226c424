"""What a request needs is fetched before it is sent, all of it at once; what cannot be had refuses it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.unit.gateway.data.rig import Client, Rig, rig, whole

from cortex.contract.error import ImageUnavailable
from cortex.contract.key import Key
from cortex.dialects.interface import Need
from cortex.gateway.data.preparation import MAX_AT_ONCE

PICTURE = {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}}
OTHER = {"type": "image", "source": {"type": "url", "url": "https://pictures.example/b.png"}}
REPLY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


class Pictures:
    """Gives pictures when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: list[str] = []
        self.may_answer = asyncio.Event()
        self.missing = ""
        self.error: Exception | None = None
        self.picture = b"data:image/png;base64,AAAA"

    async def fetch(self, need: Need, key: Key | None) -> bytes | None:
        self.asked.append(need.ref)
        if need.ref == self.missing:
            raise ImageUnavailable("missing")
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.left.append(need.ref)
            raise
        if self.error is not None:
            raise self.error
        return self.picture


def play(test: Callable[[Rig, Pictures, Client], Awaitable[None]], **limit: int) -> None:
    async def run() -> None:
        with rig(**limit) as it:
            it.plane.fetcher = pictures = Pictures()
            body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [PICTURE, OTHER]}]}
            it.leases.next(it.place(kind="llamacpp"))
            client = it.post(msgspec.json.encode(body), path=b"/v1/messages")
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(pictures.asked) == 2
            await test(it, pictures, client)
            await it.plane.tasks.stop()

    asyncio.run(run())


async def rest(it: Rig) -> None:
    for _ in range(50):
        await asyncio.sleep(0)
    assert not len(it.plane.tasks)


def test_a_request_is_sent_with_what_it_needed() -> None:
    async def test(it: Rig, pictures: Pictures, client: Client) -> None:
        assert it.leases.asked == [], "it has asked for a place before it could use it"
        pictures.may_answer.set()
        await rest(it)
        engine = it.upstream.accept()
        assert engine.received().count(b"data:image/png;base64,AAAA") == 2
        engine.say(whole(REPLY))
        assert client.answer.status == 200

    play(test)


@pytest.mark.parametrize(("error", "status"), [(ImageUnavailable("not there"), 400), (KeyError("oops"), 500)])
def test_what_cannot_be_had_is_told(error: Exception, status: int) -> None:
    async def test(it: Rig, pictures: Pictures, client: Client) -> None:
        pictures.error = error
        pictures.may_answer.set()
        await rest(it)
        assert client.answer.status == status
        assert msgspec.json.decode(client.answer.body)["type"] == "error"
        assert (it.record.outcome, it.leases.asked) == ("refused", [])

    play(test)


def test_nothing_more_is_fetched_for_one_who_is_refused() -> None:
    async def run() -> None:
        with rig() as it:
            it.plane.fetcher = pictures = Pictures()
            pictures.missing = "https://pictures.example/b.png"
            body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [PICTURE, OTHER]}]}
            client = it.post(msgspec.json.encode(body), path=b"/v1/messages")
            await rest(it)
            assert client.answer.status == 400
            assert pictures.left == ["https://pictures.example/a.png"]

    asyncio.run(run())


@pytest.mark.parametrize("is_shutdown", [False, True])
def test_nothing_is_fetched_for_one_who_has_left(is_shutdown: bool) -> None:
    async def test(it: Rig, pictures: Pictures, client: Client) -> None:
        if is_shutdown:
            assert client.exchange.handler is not None
            client.exchange.handler.on_shutdown()
        else:
            client.leave()
        await rest(it)
        assert it.leases.asked == []
        assert len(pictures.left) == 2

    play(test)


def test_what_is_fetched_counts_like_what_is_sent() -> None:
    async def test(it: Rig, pictures: Pictures, client: Client) -> None:
        pictures.picture = b"data:image/png;base64," + b"A" * 600
        pictures.may_answer.set()
        await rest(it)
        assert client.answer.status == 413
        assert it.leases.asked == []

    play(test, max_body_bytes=1000)


def test_one_request_does_not_fetch_everything_at_once() -> None:
    async def run() -> None:
        with rig() as it:
            it.plane.fetcher = pictures = Pictures()
            urls = [{"type": "image", "source": {"type": "url", "url": f"https://x.example/{n}.png"}} for n in range(9)]
            body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": urls}]}
            client = it.post(msgspec.json.encode(body), path=b"/v1/messages")
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(pictures.asked) == MAX_AT_ONCE
            client.leave()
            await it.plane.tasks.stop()

    asyncio.run(run())
