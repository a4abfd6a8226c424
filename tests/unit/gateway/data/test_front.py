"""The door on a real socket: clients of every kind, its start, its stop and its sweep, on every loop there is, with TLS
and without."""

import asyncio
import atexit
import contextlib
import errno
import functools
import importlib
import inspect
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.certificate import Authority
from tests.unit.gateway.data.desk import TEXT, Clerk, statuses
from tests.unit.kit.test_listener import waiting_room

from cortex.gateway.data.door_room import DoorRoom
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.front import Front, FrontLimit
from cortex.kit.listener import ACCEPTS_AT_ONCE
from cortex.kit.tls import ServerTls, TlsFiles

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the standard library, and uvloop where it is installed, whose dead transports behave differently."""
    found: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
    with contextlib.suppress(ImportError):
        found.append(importlib.import_module("uvloop").new_event_loop)
    return found


class Door:
    """A front on a loopback port."""

    def __init__(
        self, limit: FrontLimit, *, is_slow: bool, is_tls: bool = False, room: tuple[int, int] = (0, 0)
    ) -> None:
        self.clerks: asyncio.Queue[Clerk] = asyncio.Queue()
        self.is_slow = is_slow
        self.is_tls = is_tls
        tls = certified()[1].context if is_tls else None
        self.front = Front(self._route, limit, asyncio.get_running_loop(), tls=tls, room=DoorRoom(*room))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]

    def _route(self, exchange: Exchange) -> Clerk:
        if (exchange.content_length or 0) > 1 << 20:
            exchange.reply(413, TEXT, b"too large")
        clerk = Clerk(exchange, is_slow=self.is_slow)
        self.clerks.put_nowait(clerk)
        return clerk

    async def client(self) -> tuple[Reader, Writer]:
        trusting = certified()[0].trusting() if self.is_tls else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=trusting)

    async def visit(self, request: bytes = GET) -> tuple[Reader, Writer, Clerk]:
        """Be a client whose request has reached its clerk."""
        reader, writer = await self.client()
        writer.write(request)
        return reader, writer, await self.clerks.get()


@functools.cache
def certified() -> tuple[Authority, ServerTls]:
    """An authority, and a server that shows a certificate of it."""
    folder = Path(tempfile.mkdtemp())
    authority = Authority(folder)
    pair = authority.issue("server")
    try:
        return authority, ServerTls(TlsFiles(cert=pair.cert, key=pair.key))
    finally:
        atexit.register(shutil.rmtree, folder)


@contextlib.asynccontextmanager
async def open_door(
    *, limit: FrontLimit | None = None, is_slow: bool = False, is_tls: bool = False, room: tuple[int, int] = (0, 0)
) -> AsyncIterator[Door]:
    door = Door(limit or FrontLimit(), is_slow=is_slow, is_tls=is_tls, room=room)
    await door.front.start([door.socket])
    try:
        yield door
    finally:
        await door.front.stop(0)
        assert door.front.connections == set()
        assert door.front.room.taken == 0


def at_door(
    *, tls: tuple[bool, ...] = (False, True), **keys: Any
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Make a test of a coroutine function: with an open door, on every loop, without TLS and with it."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*, make_loop: Callable[[], asyncio.AbstractEventLoop], is_tls: bool, **arguments: object) -> None:
            async def play() -> None:
                async with asyncio.timeout(30), open_door(**keys, is_tls=is_tls) as door:
                    await test(door, **arguments)

            with asyncio.Runner(loop_factory=make_loop) as runner:
                runner.run(play())

        ours = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("make_loop", "is_tls")]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in [*inspect.signature(test).parameters.values()][1:]]
        run.__signature__ = inspect.Signature([*own, *ours])  # type: ignore[attr-defined]
        on_tls = pytest.mark.parametrize("is_tls", tls, ids=lambda is_tls: "tls" if is_tls else "plain")
        on_loops = pytest.mark.parametrize("make_loop", loops(), ids=lambda make: make.__module__.partition(".")[0])
        return on_tls(on_loops(run))

    return decorate


def close(writer: Writer) -> None:
    writer.close()


async def leave(writer: Writer) -> None:
    close(writer)
    with contextlib.suppress(ConnectionError, ssl.SSLError):  # of TLS that ends with something unread, by the client
        await writer.wait_closed()


def reset(writer: Writer) -> None:
    """Vanish as a process does that is killed with unread bytes."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def answer(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


@at_door()
async def test_one_connection_carries_many_requests(door: Door) -> None:
    reader, writer = await door.client()
    for _ in range(3):
        writer.write(GET)
        assert (await answer(reader)).endswith(b"GET /a  ")
    assert len(door.front.connections) == 1
    assert next(iter(door.front.connections)).peer == "127.0.0.1"
    await leave(writer)


@at_door()
async def test_a_client_that_sends_byte_by_byte_is_served(door: Door) -> None:
    reader, writer = await door.client()
    for byte in b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello":
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await answer(reader)).endswith(b"POST /a  hello")
    await leave(writer)


@at_door()
async def test_a_request_that_closes_is_answered_and_closed(door: Door) -> None:
    reader, writer = await door.client()
    writer.write(CLOSING)
    assert (await reader.read()).endswith(b"GET /a  ")
    await leave(writer)


@at_door()
async def test_an_early_refusal_reaches_a_client_that_sends_all_of_its_body_first(door: Door) -> None:
    reader, writer = await door.client()
    size = 24 << 20
    writer.write(b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size >> 16):
        writer.write(bytes(1 << 16))
        await writer.drain()
    assert statuses(await reader.read()) == [413]
    await leave(writer)


@pytest.mark.parametrize("vanish", [close, reset])
@at_door(is_slow=True)
async def test_a_handler_is_told_at_once_of_a_client_that_vanishes(
    door: Door, vanish: Callable[[Writer], None]
) -> None:
    _, writer, clerk = await door.visit()
    clerk.exchange.begin(200, TEXT, None)
    clerk.exchange.write(b"begun")
    vanish(writer)
    await clerk.until("gone")
    clerk.exchange.write(b"into the void")
    clerk.exchange.finish()
    await leave(writer)


@at_door(is_slow=True, tls=(False,))
async def test_a_client_that_half_closes_is_not_answered(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    writer.write_eof()
    await clerk.until("gone")
    assert await reader.read() == b""
    await leave(writer)


@at_door(is_slow=True)
async def test_a_client_that_does_not_read_pauses_its_handler_until_it_does(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    clerk.exchange.begin(200, TEXT, None)
    written = 0
    while "pause" not in clerk.told:
        clerk.exchange.write(bytes(1 << 16))
        written += 1 << 16
        await asyncio.sleep(0)
    reading = asyncio.ensure_future(reader.read())
    await clerk.until("resume")
    clerk.exchange.is_keep_alive = False
    clerk.exchange.finish()
    assert len(await reading) > written
    await leave(writer)


@at_door(is_slow=True)
async def test_a_paused_request_body_is_pushed_back_on_the_client(door: Door) -> None:
    reader, writer, clerk = await door.visit(b"POST /a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
    clerk.exchange.connection.pause_reading()
    writer.write(bytes(1_000_000))
    for _ in range(20):
        await asyncio.sleep(0)
    assert clerk.body == b""
    clerk.exchange.connection.resume_reading()
    await clerk.until("end")
    clerk.exchange.reply(200, TEXT, b"thanks")
    assert len(clerk.body) == 1_000_000
    assert (await answer(reader)).endswith(b"thanks")
    await leave(writer)


@at_door(limit=FrontLimit(keep_alive_s=0, sweep_s=0.001))
async def test_the_sweep_closes_idle_connections_by_itself(door: Door) -> None:
    reader, writer = await door.client()
    assert await reader.read() == b""
    await leave(writer)


@at_door(limit=FrontLimit(sweep_s=0.001))
async def test_the_sweep_goes_on_until_the_stop(door: Door) -> None:
    swept: asyncio.Queue[float] = asyncio.Queue()
    door.front.sweep = swept.put_nowait  # type: ignore[method-assign]
    assert await swept.get() <= await swept.get() <= await swept.get()
    await door.front.stop(0)
    assert door.front._timer is not None
    assert door.front._timer.cancelled()


@at_door(is_slow=True)
async def test_stop_waits_for_running_answers_and_closes_the_idle_ones(door: Door) -> None:
    idle, idle_writer = await door.client()
    busy, busy_writer, clerk = await door.visit()
    stopping = asyncio.ensure_future(door.front.stop(20))
    assert await idle.read() == b""
    assert not stopping.done()
    clerk.answer()
    written = await busy.read()
    assert written.endswith(b"GET /a  ")
    assert b"connection: close" in written
    await stopping
    assert "shutdown" not in clerk.told
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await door.client()
    for writer in (idle_writer, busy_writer):
        await leave(writer)


@at_door(is_slow=True)
async def test_stop_ends_what_runs_on_past_its_grace(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    await door.front.stop(0)
    assert clerk.told == ["end", "shutdown"]
    assert b"shutting down" in await reader.read()
    await leave(writer)


@at_door(is_slow=True)
async def test_stop_takes_no_request_that_waits_behind_a_running_one(door: Door) -> None:
    reader, writer, clerk = await door.visit(GET + GET)
    stopping = asyncio.ensure_future(door.front.stop(20))
    await asyncio.sleep(0)
    clerk.answer()
    assert statuses(await reader.read()) == [200]
    await leave(writer)
    await stopping
    assert door.clerks.empty()


@at_door()
async def test_a_connection_accepted_while_stopping_is_closed(door: Door) -> None:
    door.front.is_stopping = True
    reader, writer = await door.client()
    assert await reader.read() == b""
    await leave(writer)


@at_door(is_slow=True)
async def test_stop_drops_a_client_that_does_not_read(door: Door) -> None:
    _, writer, clerk = await door.visit()
    clerk.exchange.begin(200, TEXT, None)
    while "pause" not in clerk.told:
        clerk.exchange.write(bytes(1 << 16))
        await asyncio.sleep(0)
    await door.front.stop(0)
    reset(writer)


class Exhausted(socket.socket):
    """A listener of a process without a free descriptor."""

    failures = 0

    def accept(self) -> Any:
        self.failures += 1
        raise OSError(errno.EMFILE, "Too many open files")


def test_without_descriptors_asyncio_fails_a_few_times_a_second_and_not_thousands() -> None:
    async def check() -> None:
        loop, complaints = asyncio.get_running_loop(), asyncio.Queue[Any]()
        loop.set_exception_handler(lambda _loop, context: complaints.put_nowait(context))
        listener = Exhausted()
        listener.bind(("127.0.0.1", 0))
        front = Front(Clerk, FrontLimit(), loop)  # type: ignore[arg-type]
        await front.start([listener])
        with socket.create_connection(listener.getsockname()):
            await complaints.get()
            assert listener.failures <= ACCEPTS_AT_ONCE + 1
            assert waiting_room(listener) > ACCEPTS_AT_ONCE
            await front.stop(0)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(check())
