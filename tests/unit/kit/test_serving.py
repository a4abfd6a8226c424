"""A port is bound or refused with a reason; an application is served and stopped without touching the process."""

import asyncio
import os
import signal
import socket
import sys

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.serving import bind, occupant, serving


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


def test_a_busy_port_names_the_process_that_has_it():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as refusal:
            bind("127.0.0.1", port)
    assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in refusal.value.message
    assert os.path.basename(sys.argv[0]) in refusal.value.message or "pytest" in refusal.value.message


def test_a_port_can_be_shared_when_both_ask_for_it():
    with bind("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        bind("127.0.0.1", port, reuse_port=True).close()
        with pytest.raises(ConfigError):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("203.0.113.7", 0, "203.0.113.7 is not an address of this machine"),
        ("no such host", 1, "cannot listen on no such host:1"),
        ("127.0.0.1", 99999999, "port 99999999 is out of range"),
    ],
)
def test_an_impossible_address_is_a_clear_error(host, port, words):
    with pytest.raises(ConfigError) as refusal:
        bind(host, port)
    assert words in refusal.value.message


def test_an_empty_host_listens_everywhere():
    with bind("", 0) as listener:
        assert listener.getsockname()[0] in {"0.0.0.0", "::"}


def test_nobody_on_the_port_means_no_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert occupant(port) == ""
    assert occupant(port, proc=tmp_path) == ""
