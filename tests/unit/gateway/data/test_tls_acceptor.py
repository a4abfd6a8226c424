"""What only a door with TLS has: handshakes that fail, take too long or find no room, and certificates that change."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificate import Authority, Pair
from tests.unit.gateway.data.test_front import (
    CLOSING,
    GET,
    Door,
    Exhausted,
    Writer,
    answer,
    at_door,
    certified,
    leave,
    loops,
    open_door,
)

from cortex.gateway.data.front import Front, FrontLimit
from cortex.gateway.data.tls_acceptor import TlsAcceptor
from cortex.kit.tls import ServerTls, TlsFiles

TLS = (True,)


async def raw(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", door.port)


def acceptor(door: Door) -> TlsAcceptor:
    (one,) = door.front.acceptors
    return one


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)


NOT_LET_IN = (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)


async def asked(reader: asyncio.StreamReader, writer: Writer) -> bytes:
    writer.write(GET)
    return await answer(reader)


@at_door(tls=TLS)
async def test_who_speaks_plainly_is_told_so(door: Door) -> None:
    reader, writer = await raw(door)
    writer.write(GET)
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in said
    await leave(writer)
    await until(lambda: not door.front.room.taken)
    assert door.clerks.empty()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x02\x00\x01"])
@at_door(tls=TLS)
async def test_a_handshake_that_comes_to_nothing_is_counted_and_not_told(
    door: Door, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for count in range(1, 4):
            _, writer = await raw(door)
            writer.write(said)
            await leave(writer)
            await until(lambda count=count: acceptor(door).failed == count)  # type: ignore[misc]
    assert caplog.records == []
    assert door.front.room.taken == 0


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
@at_door(tls=TLS, limit=FrontLimit(head_timeout_s=0.05))
async def test_a_handshake_has_a_limited_time(door: Door, said: bytes) -> None:
    reader, writer = await raw(door)
    writer.write(said)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    await leave(writer)
    await until(lambda: acceptor(door).failed == 1)
    assert door.front.room.taken == 0


@at_door(tls=TLS)
async def test_a_stop_does_not_wait_for_handshakes(door: Door) -> None:
    _, writer = await raw(door)
    await until(lambda: door.front.room.taken == 1)
    await door.front.stop(30)
    assert door.front.room.taken == 0
    await leave(writer)


@at_door(tls=TLS)
async def test_who_leaves_waits_for_handshakes_that_are_under_way(door: Door) -> None:
    silent_reader, silent = await raw(door)
    await until(lambda: door.front.room.taken == 1)
    door.front.leave(accepts=False)
    leaving = asyncio.ensure_future(door.front.left())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not leaving.done()
    await leave(silent)
    await leaving
    assert await silent_reader.read() == b""


@at_door(tls=TLS, limit=FrontLimit(sweep_s=0.01))
async def test_a_client_that_does_not_answer_the_goodbye_is_not_waited_for(door: Door) -> None:
    reader, writer = await door.client()
    await asked(reader, writer)
    writer.transport.pause_reading()
    stopping = asyncio.ensure_future(door.front.stop(600))
    await asyncio.sleep(0)
    (connection,) = door.front.connections
    connection._closed_s -= 60
    await stopping
    writer.transport.resume_reading()
    await leave(writer)


@at_door(tls=TLS)
async def test_a_large_last_answer_reaches_a_client_that_reads_late(door: Door) -> None:
    door.is_slow = True
    reader, writer, clerk = await door.visit(CLOSING)
    writer.transport.pause_reading()
    size = 8 << 20
    clerk.exchange.reply(200, b"content-type: text/plain\r\n", bytes(size))
    for _ in range(100):
        await asyncio.sleep(0)
    door.front.sweep(door.front.now_s() + 60)
    writer.transport.resume_reading()
    assert len(await reader.read()) > size
    await leave(writer)


@at_door(tls=TLS)
async def test_a_client_that_closes_only_tls_counts_as_gone(door: Door) -> None:
    door.is_slow = True
    _, writer, clerk = await door.visit()
    await leave(writer)
    await clerk.until("gone")


@at_door(tls=TLS, room=(1, 0))
async def test_without_room_nobody_gets_as_far_as_a_handshake(door: Door) -> None:
    _, silent = await raw(door)
    await until(lambda: door.front.room.taken == 1)
    with pytest.raises(NOT_LET_IN):
        await door.client()
    assert door.front.room.turned_away == 1
    await leave(silent)
    await until(lambda: not door.front.room.taken)
    reader, writer = await door.client()
    await asked(reader, writer)
    await leave(writer)


@at_door(tls=(False,), room=(0, 1))
async def test_without_room_a_plain_client_is_told_when_to_come_back(door: Door) -> None:
    first_reader, first = await door.client()
    await asked(first_reader, first)
    reader, second = await door.client()
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in said
    assert len(door.front.connections) == 1
    await leave(second)
    await leave(first)
    await until(lambda: not door.front.connections)
    third_reader, third = await door.client()
    await asked(third_reader, third)
    await leave(third)


def der_of(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(pair.cert).read_text())


async def renew_under_a_connection(folder: Path) -> None:
    authority = Authority(folder)
    pair = authority.issue("server")
    tls = ServerTls(TlsFiles(cert=pair.cert, key=pair.key))

    def shown(writer: Writer) -> bytes:
        return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async with open_door(is_tls=True) as door:
        acceptor(door)._context = tls.context
        trusting = authority.trusting()
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=trusting)
        newest = der_of(authority.issue("server", to=pair))
        tls.renew()
        await asked(reader, writer)
        newer_reader, newer = await asyncio.open_connection("127.0.0.1", door.port, ssl=trusting)
        await asked(newer_reader, newer)
        assert shown(newer) == newest
        assert shown(newer) != shown(writer)
        await leave(newer)
        await leave(writer)


@pytest.mark.parametrize("make_loop", loops(), ids=["asyncio", "uvloop"][: len(loops())])
def test_a_new_certificate_is_shown_and_whoever_is_connected_stays_so(
    make_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(renew_under_a_connection(tmp_path))


async def mutual(folder: Path) -> None:
    authority, strangers = Authority(folder), Authority(folder, "strangers")
    pair = authority.issue("server")
    tls = ServerTls(TlsFiles(cert=pair.cert, key=pair.key, ca=authority.file))
    async with open_door(is_tls=True) as door:
        acceptor(door)._context = tls.context
        for context in (authority.trusting(), authority.trusting(strangers.issue("stranger"))):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
            with pytest.raises(NOT_LET_IN):  # with TLS 1.3 a client hears of it after its own part
                await asked(reader, writer)
            await leave(writer)
        assert door.clerks.empty()
        known = authority.trusting(authority.issue("client"))
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=known)
        await asked(reader, writer)
        await leave(writer)


@pytest.mark.parametrize("make_loop", loops(), ids=["asyncio", "uvloop"][: len(loops())])
def test_where_clients_must_show_a_certificate_others_get_no_answer(
    make_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(mutual(tmp_path))


def test_without_descriptors_accepting_is_tried_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    class Loop:
        def __init__(self) -> None:
            self.readers: list[object] = []
            self.later: list[Callable[[], None]] = []

        def add_reader(self, sock: object, _callback: object) -> None:
            self.readers.append(sock)

        def remove_reader(self, sock: object) -> None:
            self.readers.remove(sock)

        def call_later(self, _seconds: float, callback: Callable[[], None]) -> contextlib.ExitStack:
            self.later.append(callback)
            timer = contextlib.ExitStack()
            timer.cancel = timer.close  # type: ignore[attr-defined]
            return timer

        def time(self) -> float:
            return 0.0

    loop = Loop()
    with Exhausted() as sock:
        front = Front(lambda _: None, FrontLimit(), loop)  # type: ignore[arg-type, return-value]
        one = TlsAcceptor(front, sock, certified()[1].context, loop, front._shaking)  # type: ignore[arg-type]
        one._accept()
        assert loop.readers == []
        assert "Too many open files" in caplog.text
        loop.later.pop()()
        assert loop.readers == [sock]
        one._accept()
        assert caplog.text.count("Too many open files") == 1
        loop.later.pop()()
        one.close()
        assert loop.readers == []
