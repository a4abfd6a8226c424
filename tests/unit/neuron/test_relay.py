"""The relay between a raw client and a raw engine, on loopback: what arrives is what was sent, when it was sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.unit.neuron.asgi_call import call

from cortex.contract.error import CortexError, Forbidden
from cortex.kit.listener import bind
from cortex.kit.serving import serving
from cortex.neuron.relay import Relay

LIMIT_S = 10.0
OK = b"HTTP/1.1 200 OK\r\n"


class Engine:
    """A server that a test plays itself: every connection waits in ``calls``."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.ends: list[asyncio.StreamWriter] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Engine"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends.append(writer)
        self.calls.put_nowait((reader, writer))

    async def take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """Return the next connection with the head of its request."""
        reader, writer = await self.calls.get()
        return reader, writer, (await reader.readuntil(b"\r\n\r\n")).decode()


class Scene:
    """A client in front of a relay in front of an engine. The nonce ``n`` is known, and no other."""

    def __init__(self, engine: Engine, port: int, relay: Relay) -> None:
        self.engine = engine
        self.port = port
        self.relay = relay
        self.ends: list[asyncio.StreamWriter] = []

    async def connect(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        self.ends.append(writer)
        return reader, writer


def play(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = Engine()
        relay = Relay(lambda nonce: f"http://127.0.0.1:{engine.port}/i/fence" if nonce == "n" else None)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await relay(scope, receive, send)
            except CortexError as error:
                await send({"type": "http.response.start", "status": 599, "headers": []})
                await send({"type": "http.response.body", "body": error.code.encode()})

        async with engine.listening(), serving(app, bind("127.0.0.1", 0), grace_s=1) as server:
            scene = Scene(engine, server.port, relay)
            try:
                async with asyncio.timeout(LIMIT_S):
                    await scenario(scene)
            finally:
                for end in (*scene.ends, *engine.ends):
                    end.transport.abort()
                await relay.close()

    asyncio.run(run())


async def answer_in_full(writer: asyncio.StreamWriter, body: bytes = b"done") -> None:
    writer.write(OK + b"content-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


def test_a_request_goes_on_under_the_engines_fence_as_it_came() -> None:
    async def scenario(scene: Scene) -> None:
        body = b'{"model":"m"}'
        reader, _ = await scene.connect(
            b"POST /relay/n/v1/chat%2Fx?a=%20b HTTP/1.1\r\nHost: neuron:9090\r\nContent-Type: application/json\r\n"
            b"X-Twice: 1\r\nX-Twice: 2\r\nAuthorization: Bearer k\r\nConnection: close\r\nTE: trailers\r\n"
            b"Content-Length: 13\r\n\r\n" + body
        )
        engine_reader, writer, head = await scene.engine.take()
        assert await engine_reader.readexactly(len(body)) == body
        lines = head.lower().splitlines()
        assert lines[0] == "post /i/fence/v1/chat%2fx?a=%20b http/1.1"
        assert f"host: 127.0.0.1:{scene.engine.port}" in lines
        assert "content-type: application/json" in lines
        assert "authorization: bearer k" in lines
        assert [line for line in lines if line.startswith("x-twice")] == ["x-twice: 1", "x-twice: 2"]
        assert "content-length: 13" in lines
        names = {line.partition(":")[0] for line in lines[1:] if line}
        assert not names & {"te", "accept", "accept-encoding", "user-agent", "transfer-encoding"}
        await answer_in_full(writer)
        assert (await reader.read()).endswith(b"done")
        passed = scene.relay.passed
        assert (passed.request_bytes, passed.response_bytes) == (len(body), len(b"done"))

    play(scenario)


def test_an_answer_comes_back_as_it_is_with_its_own_headers() -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"GET /relay/n/v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        _, writer, head = await scene.engine.take()
        assert "content-length" not in head.lower()
        writer.write(
            b"HTTP/1.1 418 Teapot\r\nServer: llama.cpp\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"Keep-Alive: timeout=5\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00"
        )
        whole = await reader.read()
        head_back, _, body = whole.partition(b"\r\n\r\n")
        lines = head_back.lower().splitlines()
        assert lines[0].startswith(b"http/1.1 418")
        assert body == b"\x1f\x8b\x00"
        assert {b"server: llama.cpp", b"set-cookie: a=1", b"set-cookie: b=2", b"content-encoding: gzip"} <= set(lines)
        assert not any(line.startswith(b"keep-alive") for line in lines)
        assert sum(line.startswith(b"date:") for line in lines) == 1
        writer.close()

    play(scenario)


def test_every_piece_of_a_stream_passes_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.write(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for event in (b"data: 1\n\n", b": ping\n\n", b"data: [DONE]\n\n"):
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            assert await reader.readuntil(event + b"\r\n") == b"%x\r\n%b\r\n" % (len(event), event)
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    play(scenario)


def test_a_body_passes_piece_by_piece_without_waiting_for_its_end() -> None:
    async def scenario(scene: Scene) -> None:
        reader, client = await scene.connect(
            b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"5\r\nfirst\r\n"
        )
        engine_reader, writer, head = await scene.engine.take()
        assert "transfer-encoding: chunked" in head.lower()
        assert await engine_reader.readuntil(b"first") == b"5\r\nfirst"
        client.write(b"6\r\nsecond\r\n0\r\n\r\n")
        assert (await engine_reader.readuntil(b"0\r\n\r\n")).endswith(b"6\r\nsecond\r\n0\r\n\r\n")
        await answer_in_full(writer)
        assert (await reader.read()).endswith(b"done")

    play(scenario)


def test_an_answer_that_comes_before_the_body_is_over_passes() -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(
            b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\nonly this"
        )
        _, writer, _ = await scene.engine.take()
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")
        assert await reader.readexactly(2) == b"no"
        writer.close()

    play(scenario)


@pytest.mark.parametrize("is_answering", [False, True], ids=["silent", "streaming"])
def test_a_client_that_leaves_closes_the_connection_to_the_engine(is_answering: bool) -> None:
    async def scenario(scene: Scene) -> None:
        reader, client = await scene.connect(b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        engine_reader, writer, _ = await scene.engine.take()
        assert await engine_reader.readexactly(2) == b"hi"
        if is_answering:
            writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            await reader.readuntil(b"x")
        client.close()
        with contextlib.suppress(ConnectionError):
            assert await engine_reader.read() == b""
        writer.close()

    play(scenario)


def test_a_client_that_leaves_in_the_middle_of_its_body_closes_it_too() -> None:
    async def scenario(scene: Scene) -> None:
        _, client = await scene.connect(b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nhalf")
        engine_reader, writer, _ = await scene.engine.take()
        assert await engine_reader.readexactly(4) == b"half"
        client.close()
        with contextlib.suppress(ConnectionError):
            assert await engine_reader.read() == b""
        writer.close()

    play(scenario)


@pytest.mark.parametrize(
    "cut",
    [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ids=["length", "chunks"],
)
def test_an_answer_that_breaks_off_never_looks_whole(cut: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"GET /relay/n/v1 HTTP/1.1\r\nHost: a\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.write(OK + cut)
        assert (await reader.readuntil(b"half")).startswith(b"HTTP/1.1 200")
        writer.close()
        rest = await reader.read()
        assert b"0\r\n\r\n" not in rest

    play(scenario)


def test_an_engine_that_hangs_up_without_a_word_is_told() -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"POST /relay/n/v1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.close()
        assert b"upstream_broken" in await reader.read()

    play(scenario)


@pytest.mark.parametrize("status", [b"999 Odd", b"101 Switching Protocols"])
def test_an_answer_that_nobody_could_pass_on_is_told(status: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"GET /relay/n/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)
        assert b"upstream_broken" in await reader.read()

    play(scenario)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_can_have_no_body_has_no_length(status: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        reader, _ = await scene.connect(b"GET /relay/n/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.write(b"HTTP/1.1 %b\r\netag: x\r\ncontent-length: 50\r\n\r\n" % status)
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 " + status)
        assert b"etag: x" in said
        assert b"content-length: 50" not in said.lower()

    play(scenario)


def test_a_client_that_does_not_read_holds_the_engine_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(b"GET /relay/n/v1 HTTP/1.1\r\nHost: a\r\n\r\n")
        _, writer, _ = await scene.engine.take()
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(OK + b"Content-Length: 100000000\r\n\r\n")
        sent, piece = 0, bytes(1 << 20)
        with contextlib.suppress(TimeoutError):
            while sent < 90 << 20:
                writer.write(piece)
                async with asyncio.timeout(0.3):
                    await writer.drain()
                sent += len(piece)
        assert sent < 32 << 20, "the relay took it all in"
        writer.transport.abort()

    play(scenario)


def test_an_engine_that_is_gone_is_told() -> None:
    async def scenario() -> None:
        with bind("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
        relay = Relay(lambda _: f"http://127.0.0.1:{port}")
        with pytest.raises(CortexError) as refused:
            await call(relay, "GET", "/relay/n/v1/models")
        assert refused.value.code == "upstream_unreachable"
        await relay.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/relay/other/v1", "/relay/", "/relay//v1", "/relay/n%2F"])
def test_an_unknown_nonce_is_a_generation_that_is_gone(path: str) -> None:
    async def scenario() -> None:
        relay = Relay(lambda nonce: "http://127.0.0.1:9" if nonce == "n" else None)
        with pytest.raises(CortexError) as refused:
            await call(relay, "GET", path)
        assert refused.value.code == "generation_gone"
        await relay.close()

    asyncio.run(scenario())


KEYED = [
    ("/relay/n/v1/chat/completions", b"authorization: Bearer mine\r\nX-Api-Key: mine\r\n"),
    ("/relay/n/v1/models", b""),
]


@pytest.mark.parametrize(("path", "shown"), KEYED, ids=["in the place of the caller's", "where it shows none"])
def test_a_key_is_shown_to_the_server_by_the_relay(path: str, shown: bytes) -> None:
    async def scenario() -> None:
        engine = Engine()
        relay = Relay(lambda _: f"http://127.0.0.1:{engine.port}", {"n": "k3y"}.get)
        async with engine.listening(), serving(relay, bind("127.0.0.1", 0), grace_s=1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
            writer.write(head + shown + b"\r\n")
            _, engine_writer, head_there = await engine.take()
            lines = head_there.lower().splitlines()
            assert [line for line in lines if "k3y" in line or "mine" in line] == ["authorization: bearer k3y"]
            await answer_in_full(engine_writer)
            assert (await reader.read()).endswith(b"done")
            writer.close()
        await relay.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    ["v1/files", "v1/models/x", "v1/chat/completions/../../files", "v1%2Fmodels", "", "update_weights", "V1/models"],
)
def test_a_key_is_shown_for_inference_alone(path: str) -> None:
    async def scenario() -> None:
        relay = Relay(lambda _: "http://127.0.0.1:9", lambda _: "k3y")
        with pytest.raises(Forbidden, match="for inference only"):
            await call(relay, "GET", f"/relay/n/{path}")
        await relay.close()

    asyncio.run(scenario())


def test_closing_cuts_what_is_being_relayed() -> None:
    async def scenario() -> None:
        engine = Engine()
        async with engine.listening():
            relay = Relay(lambda _: f"http://127.0.0.1:{engine.port}")
            relaying = asyncio.create_task(call(relay, "GET", "/relay/n/v1"))
            reader, writer, _ = await engine.take()
            relaying.cancel()
            await asyncio.wait((relaying,))
            assert await reader.read() == b""
            writer.close()
            await relay.close()

    asyncio.run(scenario())
