"""Connections to real engines on loopback: opening, pooling, freshness, closing."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.unit.gateway.data.engine import Caller, Script, an_engine, an_upstream, target

from cortex.contract.error import UpstreamUnreachable
from cortex.gateway.data.upstream import Origin, Upstream, UpstreamConnection

REQUEST = b"POST /v1/x HTTP/1.1\r\nhost: engine\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n%b\r\na"


def run(coro: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coro, 30))


async def request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)


def answering(headers: bytes = b"") -> Script:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(OK % headers)

    return serve


async def open_to(upstream: Upstream, origin: Origin) -> UpstreamConnection:
    caller = Caller()
    upstream.connect(origin, caller)
    await caller.until("connected")
    assert caller.connection is not None
    return caller.connection


async def ask(connection: UpstreamConnection, *, finishes: bool = True) -> Caller:
    caller = Caller(finishes=finishes)
    connection.send(caller, REQUEST, b"{}")
    await caller.until("whole")
    return caller


def test_a_connection_is_opened_used_and_used_again() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            assert origin.take(upstream.now_s()) is None
            connection = await open_to(upstream, origin)
            assert not connection.is_reused
            for _ in range(3):
                assert (await ask(connection)).body == b"a"
                assert origin.take(upstream.now_s()) is connection
                assert connection.is_reused
            assert origin.take(upstream.now_s()) is None
            assert origin.open_count == 1

    run(check())


def test_the_connection_used_last_is_used_next() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            first, second = await open_to(upstream, origin), await open_to(upstream, origin)
            await ask(first)
            await ask(second)
            assert origin.take(upstream.now_s()) is second
            assert origin.take(upstream.now_s()) is first

    run(check())


def test_a_connection_that_was_idle_too_long_is_closed_and_not_used() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream(idle_limit_s=60) as upstream:
            origin = upstream.origin(target(url))
            connection = await open_to(upstream, origin)
            await ask(connection)
            assert origin.take(upstream.now_s() + 61) is None
            assert connection.transport.is_closing()

    run(check())


@pytest.mark.parametrize(
    ("hint", "kept_s"),
    [
        (b"timeout=5", 4),
        (b"timeout=5, max=100", 4),
        (b"max=100, TIMEOUT = 5 ", 4),
        (b"timeout=1", 0),
        (b"timeout=0", 0),
        (b"timeout=600", 60),
        (b"timeout=x", 60),
        (b"", 60),
    ],
)
def test_an_engine_says_how_long_it_keeps_a_connection(hint: bytes, kept_s: float) -> None:
    async def check() -> None:
        async with an_engine(answering(b"Keep-Alive: %b\r\n" % hint)) as url, an_upstream(idle_limit_s=60) as upstream:
            connection = await open_to(upstream, upstream.origin(target(url)))
            await ask(connection)
            idle_since_s = connection.idle_since_s
            assert connection.is_fresh_enough(idle_since_s + max(kept_s - 0.1, 0), 60)
            assert not connection.is_fresh_enough(idle_since_s + kept_s + 0.1, 60)

    run(check())


def test_a_connection_that_the_engine_closed_while_idle_is_forgotten() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK % b"")

    async def check() -> None:
        async with an_engine(serve) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            await ask(await open_to(upstream, origin))
            while origin.open_count:  # noqa: ASYNC110  # the connection has no owner who could be told
                await asyncio.sleep(0)
            assert not origin._idle
            assert origin.take(upstream.now_s()) is None

    run(check())


def test_a_stale_connection_is_lost_untouched() -> None:
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK % b"")
        await request(reader)
        answered.set()

    async def check() -> None:
        async with an_engine(serve) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            await ask(await open_to(upstream, origin))
            connection = origin.take(upstream.now_s())
            assert connection is not None
            caller = Caller()
            connection.send(caller, REQUEST, b"{}")
            await caller.until("lost")
            assert answered.is_set()
            assert caller.is_untouched
            assert caller.error is not None
            assert "before answering" in caller.error.message

    run(check())


def test_dropping_a_connection_reaches_the_engine_at_once() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await reader.read() == b""
        gone.set()

    async def check() -> None:
        async with an_engine(serve) as url, an_upstream() as upstream:
            connection = await open_to(upstream, upstream.origin(target(url)))
            caller = Caller()
            connection.send(caller, REQUEST, b"{}")
            await caller.until("part")
            connection.drop()
            await gone.wait()
            assert "lost" not in caller.told

    run(check())


def test_an_answer_before_the_body_was_read_is_taken() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\ncontent-length: 1\r\n\r\na")
        await writer.drain()
        await asyncio.Event().wait()

    async def check() -> None:
        async with an_engine(serve) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            connection = await open_to(upstream, origin)
            caller = Caller()
            connection.send(caller, b"POST / HTTP/1.1\r\ncontent-length: 20000000\r\n\r\n", bytes(20_000_000))
            assert "pause" in caller.told
            await caller.until("whole")
            assert caller.status == 413
            assert connection.transport.is_closing()
            assert origin.take(upstream.now_s()) is None

    run(check())


def test_an_engine_that_reads_on_lets_the_owner_go_on() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(20_000_000)
        writer.write(OK % b"")

    async def check() -> None:
        async with an_engine(serve) as url, an_upstream() as upstream:
            connection = await open_to(upstream, upstream.origin(target(url)))
            caller = Caller()
            connection.send(caller, b"POST / HTTP/1.1\r\ncontent-length: 20000000\r\n\r\n", bytes(20_000_000))
            await caller.until("whole")
            assert caller.told == ["pause", "resume", "whole"]

    run(check())


def test_a_connection_given_back_paused_reads_again() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            connection = await open_to(upstream, origin)
            await ask(connection, finishes=False)
            connection.transport.pause_reading()
            connection.finish()
            assert origin.take(upstream.now_s()) is connection
            assert (await ask(connection)).body == b"a"

    run(check())


# failing to connect


def test_a_refused_connection_is_told_with_its_address() -> None:
    async def check() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        async with an_upstream() as upstream:
            caller = Caller()
            upstream.connect(upstream.origin(target(f"http://127.0.0.1:{port}")), caller)
            await caller.until("failed")
            assert isinstance(caller.error, UpstreamUnreachable)
            assert f"127.0.0.1:{port} cannot be reached" in caller.error.message

    run(check())


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "a" * 70 + ".invalid:1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:x",
        "http://[::1",
        "http://:80",
        "nonsense",
        "",
    ],
)
def test_an_impossible_address_is_an_engine_that_cannot_be_reached(url: str) -> None:
    async def check() -> None:
        async with an_upstream() as upstream:
            caller = Caller()
            upstream.connect(upstream.origin(target(url)), caller)
            await caller.until("failed")
            assert isinstance(caller.error, UpstreamUnreachable)
            assert "cannot be reached" in caller.error.message

    run(check())


def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    async def check() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with an_upstream(connect_timeout_s=0.05) as upstream:
                caller = Caller()
                upstream.connect(upstream.origin(target(f"http://127.0.0.1:{full.getsockname()[1]}")), caller)
                await caller.until("failed")
                assert isinstance(caller.error, UpstreamUnreachable)
                assert "did not accept a connection within 0.05 s" in caller.error.message
            for filler in fillers:
                filler.close()

    run(check())


def test_a_connection_that_was_closed_as_it_was_opened_is_none() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            opened = upstream._loop.create_connection

            async def open_and_close(*args: Any, **kwargs: Any) -> Any:
                transport, connection = await opened(*args, **kwargs)
                transport.abort()
                return transport, connection

            upstream._loop.create_connection = open_and_close  # type: ignore[method-assign]
            caller = Caller()
            upstream.connect(upstream.origin(target(url)), caller)
            await caller.until("failed")
            assert caller.error is not None
            assert "closed the connection at once" in caller.error.message

    run(check())


# origins


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "prefix"),
    [
        ("http://10.0.0.1:8100/i/abc", "10.0.0.1", 8100, b"10.0.0.1:8100", b"/i/abc"),
        ("http://engine", "engine", 80, b"engine", b""),
        ("https://engine/", "engine", 443, b"engine", b""),
        ("http://user:secret@engine:1/", "engine", 1, b"engine:1", b""),
        ("http://[fd00::1]:8100", "fd00::1", 8100, b"[fd00::1]:8100", b""),
    ],
)
def test_an_origin_is_read_off_its_url(url: str, host: str, port: int, authority: bytes, prefix: bytes) -> None:
    async def check() -> None:
        async with an_upstream() as upstream:
            origin = upstream.origin(target(url))
            assert (origin.host, origin.port, origin.authority, origin.prefix) == (host, port, authority, prefix)

    run(check())


def test_a_target_has_one_origin_and_its_next_generation_another() -> None:
    async def check() -> None:
        async with an_upstream() as upstream:
            one, other = target("http://engine:1"), target("http://engine:1")
            assert upstream.origin(one) is upstream.origin(one)
            assert upstream.origin(one) is not upstream.origin(other)

    run(check())


def test_the_sweep_closes_idle_connections_and_forgets_unused_origins() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream(idle_limit_s=60) as upstream:
            where = target(url)
            origin = upstream.origin(where)
            connection = await open_to(upstream, origin)
            await ask(connection)
            origin.last_used_s = upstream.now_s()
            upstream.sweep(upstream.now_s() + 59)
            assert not connection.transport.is_closing()
            upstream.sweep(upstream.now_s() + 61)
            assert connection.transport.is_closing()
            await asyncio.sleep(0)
            upstream.sweep(upstream.now_s() + 61)
            assert upstream.origin(where) is not origin

    run(check())


def test_an_origin_is_remembered_for_a_while_after_it_was_last_asked_for() -> None:
    async def check() -> None:
        async with an_upstream(idle_limit_s=60) as upstream:
            where = target("http://engine")
            origin = upstream.origin(where)
            now_s = upstream.now_s() + 1000
            assert origin.take(now_s) is None
            upstream.sweep(now_s + 60)
            assert upstream.origin(where) is origin
            upstream.sweep(now_s + 61)
            assert upstream.origin(where) is not origin

    run(check())


def test_the_kernel_looks_whether_a_silent_engine_is_still_there() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            connection = await open_to(upstream, upstream.origin(target(url)))
            sock = connection.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30

    run(check())


def test_an_origin_whose_connection_is_busy_for_hours_is_not_forgotten() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream(idle_limit_s=60) as upstream:
            where = target(url)
            origin = upstream.origin(where)
            connection = await open_to(upstream, origin)
            await ask(connection, finishes=False)
            upstream.sweep(upstream.now_s() + 10_000)
            connection.finish()
            assert upstream.origin(where) is origin
            assert origin.take(upstream.now_s()) is connection

    run(check())


def test_closing_ends_idle_connections_at_once_and_busy_ones_when_they_are_given_back() -> None:
    async def check() -> None:
        async with an_engine(answering()) as url, an_upstream() as upstream:
            origin = upstream.origin(target(url))
            idle, busy = await open_to(upstream, origin), await open_to(upstream, origin)
            await ask(idle)
            await ask(busy, finishes=False)
            upstream.close()
            assert idle.transport.is_closing()
            assert not busy.transport.is_closing()
            busy.finish()
            assert busy.transport.is_closing()

    run(check())
