"""A port is bound or refused with a reason; an application is served and stopped without touching the process."""

import asyncio
import contextlib
import signal

import pytest
from tests.certificate import Authority
from tests.unit.kit.test_listener import waiting_room

from cortex.kit.listener import bind
from cortex.kit.serving import MAX_BARE_BYTES, MAX_PIPELINED, serving
from cortex.kit.tls import ServerTls, TlsFiles


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Endless:
    """Answers with a head and then never ends; tells when it is running and when it was ended."""

    def __init__(self):
        self.is_running = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        self.is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def ask(port, text="GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def test_it_serves_on_the_port_that_was_bound():
    async def scenario():
        async with serving(hello, bind("127.0.0.1", 0)) as server:
            answer = await ask(server.port)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"hello")

    asyncio.run(scenario())


def test_after_the_block_the_port_is_free_again():
    async def scenario():
        async with serving(hello, bind("127.0.0.1", 0)) as server:
            port = server.port
        assert server.ended.done()
        bind("127.0.0.1", port).close()

    asyncio.run(scenario())


def test_the_processs_signal_handlers_are_left_alone():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def scenario():
        async with serving(hello, bind("127.0.0.1", 0)):
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)][1] == before[1]

    asyncio.run(scenario())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_request_that_does_not_end_is_cancelled_after_the_grace_time():
    async def scenario():
        app = Endless()
        async with serving(app, bind("127.0.0.1", 0), grace_s=0.1) as server:
            _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await app.is_running.wait()
        assert app.was_cancelled
        writer.close()

    asyncio.run(scenario())


def test_pipelined_requests_are_answered_in_order():
    async def echo(scope, receive, send):
        body = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def scenario():
        async with serving(echo, bind("127.0.0.1", 0)) as server:
            asked = "".join(f"GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n" for number in range(100))
            said = await ask(server.port, asked + "GET /end HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        paths = [part.partition(b"HTTP/1.1")[0] for part in said.split(b"\r\n\r\n")[1:]]
        assert paths == [*(b"/%d" % number for number in range(100)), b"/end"]

    asyncio.run(scenario())


async def is_cut_off(port, *pieces):
    """Send without reading, and wait until the server has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return True


@pytest.mark.parametrize("app", [hello, Endless()], ids=["answered", "not answered"])
def test_a_connection_that_pipelines_without_end_is_cut_off(app):
    async def scenario():
        async with serving(app, bind("127.0.0.1", 0), grace_s=1.0) as server:
            assert await is_cut_off(server.port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * (MAX_PIPELINED + 2))

    asyncio.run(scenario())


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
        (b"GET / HTTP/1.1\r\na: ", b"b"),
        (b"GET /", b"a"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
        (CHUNKED + b"1", b";a=b"),
    ],
    ids=["headers", "header", "url", "trailers", "extension"],
)
def test_what_is_no_body_may_not_go_on_without_end(begin, piece):
    async def read_all(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await hello(scope, receive, send)

    async def scenario():
        async with serving(read_all, bind("127.0.0.1", 0), grace_s=1.0) as server:
            assert await is_cut_off(server.port, begin, *([piece * 5000] * 60))

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: a"], ids=["nothing", "half a head"])
def test_a_connection_without_a_request_is_closed(sent):
    async def scenario():
        async with serving(hello, bind("127.0.0.1", 0), keep_alive_s=0) as server:
            assert await is_cut_off(server.port, sent)

    asyncio.run(scenario())


def test_a_large_body_and_a_long_answer_are_not_cut_off():
    size = 40 * MAX_BARE_BYTES

    async def count(scope, receive, send):
        length, is_more = 0, True
        while is_more:
            message = await receive()
            length, is_more = length + len(message["body"]), message["more_body"]
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % length})

    async def scenario():
        async with serving(count, bind("127.0.0.1", 0)) as server:
            head = f"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
            said = await ask(server.port, head + "x" * size)
        assert b"\r\n%d\r\n" % size in said

    asyncio.run(scenario())


def test_an_idle_keep_alive_connection_does_not_hold_up_the_end():
    async def scenario():
        async with serving(hello, bind("127.0.0.1", 0), grace_s=30) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""
        writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_an_error_in_the_block_stops_the_server_and_comes_through():
    async def scenario():
        sock = bind("127.0.0.1", 0)
        async with serving(hello, sock):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(scenario())


def test_as_many_connections_may_wait_as_before_it_served():
    async def scenario():
        listener = bind("127.0.0.1", 0)
        before = waiting_room(listener)
        async with serving(hello, listener):
            assert waiting_room(listener) == before

    asyncio.run(scenario())


def test_with_tls_it_speaks_nothing_else_and_shows_what_is_newest(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = ServerTls(TlsFiles(cert=pair.cert, key=pair.key))
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["scheme"], scope["client"][0]))
        await hello(scope, receive, send)

    async def shown(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting())
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return certificate

    async def scenario():
        async with serving(app, bind("127.0.0.1", 0), tls=tls.context) as server:
            first = await shown(server.port)
            authority.issue("server", to=pair)
            tls.renew()
            assert await shown(server.port) != first
            assert await ask(server.port) == b""

    asyncio.run(scenario())
    assert seen == [("https", "127.0.0.1")] * 2
