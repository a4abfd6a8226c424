"""An ASGI application behind the front door: bodies in, answers out, back-pressure both ways, clients that leave."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.desk import Desk, statuses

from cortex.gateway.data.asgi import MAX_HELD_BYTES, AsgiDoor
from cortex.gateway.ports import AsgiApp, Message, Receive, Send
from cortex.kit.task import TaskOwner

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}
GET = b"GET /admin/v1/x%2Fy?a=1 HTTP/1.1\r\nhost: g\r\n\r\n"


class Stage:
    """A front whose every request goes to one application."""

    def __init__(self, app: AsgiApp) -> None:
        self.tasks = TaskOwner()
        door = AsgiDoor(app, self.tasks)
        self.desk = Desk(take=lambda exchange: door(exchange, b"req-1"))  # type: ignore[arg-type, return-value]

    async def settle(self) -> None:
        """Let the application go as far as it gets."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def send(self, *pieces: bytes) -> bytes:
        self.desk.send(*pieces)
        await self.settle()
        return self.desk.wire.take()


@contextlib.asynccontextmanager
async def stage(app: AsgiApp) -> AsyncIterator[Stage]:
    it = Stage(app)
    yield it
    await it.settle()
    assert len(it.tasks) == 0, "a request's task is left"


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def hello(_scope: Message, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"hello"))


async def echo(_scope: Message, receive: Receive, send: Send) -> None:
    read = b""
    while True:
        message = await receive()
        read += message["body"]
        if not message["more_body"]:
            break
    await send(START)
    await send(body(read))


def test_a_whole_answer_has_its_length_and_the_requests_id_and_the_connection_lives_on() -> None:
    async def scene() -> None:
        async with stage(hello) as it:
            for _ in range(2):
                assert await it.send(GET) == (
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-request-id: req-1\r\n"
                    b"content-length: 5\r\n\r\nhello"
                )

    play(scene)


def test_the_application_is_told_what_was_asked() -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await hello(scope, receive, send)

    async def scene() -> None:
        async with stage(app) as it:
            await it.send(GET)

    play(scene)
    (scope,) = seen
    assert (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/admin/v1/x/y", b"a=1")
    assert (scope["headers"], scope["client"][0]) == ([(b"host", b"g")], "192.0.2.7")


def test_a_body_arrives_whole_however_it_is_cut() -> None:
    async def scene() -> None:
        async with stage(echo) as it:
            for pieces in ((b"ab", b"cd"), (b"abcd",), (b"a", b"b", b"c", b"d")):
                written = await it.send(b"POST /x HTTP/1.1\r\nhost: g\r\ncontent-length: 4\r\n\r\n", *pieces)
                assert written.endswith(b"\r\n\r\nabcd")

    play(scene)


def test_a_client_that_asks_first_is_told_to_go_on_when_the_body_is_wanted() -> None:
    head = b"POST /x HTTP/1.1\r\nhost: g\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"

    async def scene() -> None:
        async with stage(echo) as it:
            assert await it.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await it.send(b"ok")).endswith(b"ok")
        async with stage(hello) as it:
            assert statuses(await it.send(head)) == [200]

    play(scene)


def test_no_more_of_a_body_is_taken_than_the_application_reads() -> None:
    gate = asyncio.Event()

    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await gate.wait()
        await echo(scope, receive, send)

    async def scene() -> None:
        async with stage(slow) as it:
            size = MAX_HELD_BYTES * 3
            await it.send(b"POST /x HTTP/1.1\r\nhost: g\r\ncontent-length: %d\r\n\r\n" % size)
            await it.send(b"x" * (size - 1))
            assert it.desk.wire.is_paused
            gate.set()
            await it.settle()
            assert not it.desk.wire.is_paused
            assert (await it.send(b"x")).endswith(b"x" * size)

    play(scene)


def test_a_stream_goes_out_piece_by_piece_and_waits_for_a_slow_reader() -> None:
    sent: list[int] = []

    async def stream(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(5):
            await send(body(b"%d" % number, more=True))
            sent.append(number)
        await send(body(b""))

    async def scene() -> None:
        async with stage(stream) as it:
            it.desk.send(GET)
            await asyncio.sleep(0)
            assert b"transfer-encoding: chunked" in it.desk.wire.written
        sent.clear()
        async with stage(stream) as it:
            it.desk.send(GET)
            it.desk.connection.pause_writing()
            await it.settle()
            assert sent == []
            it.desk.connection.resume_writing()
            await it.settle()
            assert sent == [0, 1, 2, 3, 4]
            assert it.desk.wire.take().endswith(b"1\r\n4\r\n0\r\n\r\n")

    play(scene)


def test_a_client_that_leaves_ends_what_was_done_for_it() -> None:
    ended: list[str] = []

    async def endless(_scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send(START)
            await send(body(b"on", more=True))
            await receive()
            await receive()
        finally:
            ended.append("ended")

    async def scene() -> None:
        async with stage(endless) as it:
            await it.send(GET)
            it.desk.wire.lose()

    play(scene)
    assert ended == ["ended"]


def test_a_gateway_that_stops_breaks_off_what_still_runs() -> None:
    async def endless(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"on", more=True))
        await asyncio.Event().wait()

    async def scene() -> None:
        async with stage(endless) as it:
            await it.send(GET)
            it.desk.connection.shut()
            assert it.desk.wire.is_aborted

    play(scene)


async def raises(_scope: Message, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a defect")


async def says_nothing(_scope: Message, _receive: Receive, _send: Send) -> None:
    pass


async def stops_half_way(_scope: Message, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"half", more=True))
    raise RuntimeError("a defect")


@pytest.mark.parametrize("app", [raises, says_nothing])
def test_an_application_without_an_answer_is_a_500_in_the_plain_shape(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with stage(app) as it:
            written = await it.send(GET)
            assert statuses(written) == [500]
            error = msgspec.json.decode(written.partition(b"\r\n\r\n")[2])["error"]
            assert error == {"code": "internal_error", "message": "Something went wrong inside cortex.", "details": {}}

    with caplog.at_level(logging.CRITICAL):
        play(scene)


def test_half_an_answer_does_not_pass_for_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with stage(stops_half_way) as it:
            written = await it.send(GET)
            assert b"half" in written
            assert it.desk.wire.is_aborted

    with caplog.at_level(logging.CRITICAL):
        play(scene)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scene() -> None:
        async with stage(echo) as it:
            post = b"POST /x HTTP/1.1\r\nhost: g\r\ncontent-length: 1\r\n\r\n%b"
            written = await it.send(post % b"1" + post % b"2" + post % b"3")
            assert [part[-1:] for part in written.split(b"HTTP/1.1 200")[1:]] == [b"1", b"2", b"3"]

    play(scene)


def test_a_head_request_gets_no_body() -> None:
    async def scene() -> None:
        async with stage(hello) as it:
            assert (await it.send(GET.replace(b"GET", b"HEAD"))).endswith(b"content-length: 5\r\n\r\n")

    play(scene)


def test_a_head_request_for_a_stream_without_an_end_is_answered_and_over() -> None:
    async def endless(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send(body(b"more", more=True))

    async def scene() -> None:
        async with stage(endless) as it:
            for _ in range(2):
                assert (await it.send(GET.replace(b"GET", b"HEAD"))).endswith(b"transfer-encoding: chunked\r\n\r\n")

    play(scene)
