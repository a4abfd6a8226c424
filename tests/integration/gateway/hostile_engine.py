"""An engine that does what it is told, byte by byte: a server on bare sockets, each request answered by a script.

async def cuts(turn: Turn) -> None:
    await turn.body()
    turn.reset()

async with HostileEngine(cuts, good) as engine:      # the first request gets `cuts`, all later ones `good`
    ...                                              # engine.turns tells what it was sent
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec

Script = Callable[["Turn"], Awaitable[None]]

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


class Line(asyncio.StreamReaderProtocol):
    """One connection of the gateway."""

    def __init__(self, engine: "HostileEngine") -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)
        self.is_lost = asyncio.Event()
        self.is_busy = False
        """A request came and its answer was not finished."""
        self._engine = engine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = transport
        # What the kernel holds for an engine is not what the gateway holds for it.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.writer = asyncio.StreamWriter(transport, self, self.reader, asyncio.get_running_loop())
        self._engine.take(self)

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()
        self.is_busy = False
        super().connection_lost(exc)


class Turn:
    """One request, and the means to answer it."""

    def __init__(self, line: Line, engine: "HostileEngine", head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        self.line = line
        self.engine = engine
        self.is_read = False
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    @property
    def text(self) -> bytes:
        """The request's body as far as it was read, chunks joined."""
        return b"".join(self._pieces)

    async def body(self) -> bytes:
        """Read the request's body to its end."""
        while await self.read_some():
            pass
        return self.text

    async def read_some(self) -> bytes:
        """Read what has come of the body, at least a byte of it; empty at its end."""
        piece = b""
        if not self.is_read:
            piece = await (self._read_chunk() if "transfer-encoding" in self.headers else self._read_length())
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        return piece

    async def _read_length(self) -> bytes:
        left = int(self.headers.get("content-length", "0")) - self._size_bytes
        piece = await self.line.reader.read(left) if left else b""
        if left and not piece:
            raise ConnectionResetError("the gateway closed in the middle of a request")
        self.is_read = left == len(piece)
        return piece

    async def _read_chunk(self) -> bytes:
        size = int(await self.line.reader.readuntil(b"\r\n"), 16)
        data = await self.line.reader.readexactly(size + 2)
        self.is_read = size == 0
        return data[:-2]

    def json(self) -> dict:
        """The body as the gateway sent it."""
        return msgspec.json.decode(self.text)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are. Raises: ConnectionResetError once the gateway has closed."""
        if self.line.is_lost.is_set():
            raise ConnectionResetError("the gateway has closed")
        self.line.writer.write(data)
        await self.line.writer.drain()

    async def events(self, *events: bytes) -> None:
        """Send events, each as a chunk of its own."""
        for event in events:
            await self.send(chunk(event))

    async def finish(self, data: bytes = b"0\r\n\r\n") -> None:
        """Send the end of the answer; the connection can be used again."""
        self.line.is_busy = False
        await self.send(data)

    async def close(self) -> None:
        """Close the connection in good order, what was sent before included."""
        self.line.writer.close()
        await self.line.is_lost.wait()

    def reset(self) -> None:
        """Break the connection off, as a killed process does."""
        if self.line.is_lost.is_set():
            return
        sock = self.line.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.line.transport.abort()

    async def until_lost(self) -> None:
        """Say nothing until the gateway closes the connection."""
        await self.line.is_lost.wait()


class HostileEngine:
    """A listening engine. ``turns`` are the requests that it was sent, in order of arrival, over all connections."""

    def __init__(self, *scripts: Script, turns: list[Turn] | None = None) -> None:
        self.scripts = list(scripts)
        self.all_turns = [] if turns is None else turns
        """Shared by the engines of a fleet that go through one list of scripts together."""
        self.turns: list[Turn] = []
        self.lines: list[Line] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Line(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone: connections are cut, new ones refused. Raises what a script raised."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self.lines:
            line.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._failures:
            raise self._failures[0]

    def busy(self) -> int:
        """Return how many connections are in the middle of a request."""
        return sum(line.is_busy for line in self.lines)

    async def turn(self, number: int) -> Turn:
        """Wait for the request of that number, from 0."""
        while len(self.turns) <= number:
            self._changed.clear()
            await self._changed.wait()
        return self.turns[number]

    def take(self, line: Line) -> None:
        """Serve a connection."""
        self.lines.append(line)
        task = asyncio.get_running_loop().create_task(self._serve(line))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _serve(self, line: Line) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not line.is_lost.is_set():
                head = await line.reader.readuntil(b"\r\n\r\n")
                line.is_busy = True
                turn = Turn(line, self, head)
                script = self.scripts[min(len(self.all_turns), len(self.scripts) - 1)]
                self.all_turns.append(turn)
                self.turns.append(turn)
                self._changed.set()
                await script(turn)
                if not line.is_lost.is_set():
                    await turn.body()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(content: str | None = None, *, model: str = "org/m", **delta: object) -> bytes:
    """One event of a chat stream; without content a role-only one."""
    said = {"role": "assistant", "content": None} if content is None else {"content": content}
    choice = {"index": 0, "delta": {**said, **delta}, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def last_event(*, model: str = "org/m") -> bytes:
    """The event that says why a stream ends."""
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def usage_event(*, model: str = "org/m") -> bytes:
    """The event that only tells the token counts."""
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [], "usage": USAGE}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def chat_body(content: str = "hello", *, model: str = "org/m") -> bytes:
    """An unstreamed chat answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}
    return msgspec.json.encode(body)


def json_answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer with a content-length."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def good(turn: Turn) -> None:
    """Answer like an engine: a stream where one is asked for, with usage where that is asked for."""
    await turn.body()
    if b'"stream":true' not in turn.text:
        await turn.finish(json_answer(chat_body()))
        return
    await turn.send(SSE_HEAD)
    await turn.events(event(), event("hel"), event("lo"), last_event())
    if turn.json().get("stream_options", {}).get("include_usage"):
        await turn.events(usage_event())
    await turn.events(DONE)
    await turn.finish()
