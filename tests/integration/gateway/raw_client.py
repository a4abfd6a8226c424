"""A client on a bare socket: sends exactly the bytes that it is given, and reads answers by the letter of HTTP/1.1."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

LIMIT_S = 60.0
"""How long anything may take before a test is called off; nothing here takes a hundredth of it."""


class Answer(NamedTuple):
    """One whole answer. Header names are lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> dict:
        return msgspec.json.decode(self.body)

    def error(self) -> dict:
        """The ``error`` of OpenAI's envelope, which has exactly its four members and perhaps ``details``."""
        assert self.header("content-type") == "application/json"
        error = self.json()["error"]
        assert set(error) - {"details"} == {"message", "type", "param", "code"}
        return error


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._left: int | None = None
        self.is_chunked = False

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def ask(
        self, body: bytes | object, *headers: str, path: str = "/v1/chat/completions", method: str = "POST"
    ) -> None:
        """Send one well-formed request; what is no bytes is sent as JSON."""
        await self.send(request(body, *headers, path=path, method=method))

    async def head(self) -> Answer:
        """Read status and headers; the body is read with ``piece``."""
        async with asyncio.timeout(LIMIT_S):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        assert version == "HTTP/1.1", lines[0]
        headers = [split_header(line) for line in lines[1:-2]]
        answer = Answer(int(rest[:3]), headers, b"")
        self.is_chunked = answer.header("transfer-encoding") == "chunked"
        length = answer.header("content-length")
        assert not (self.is_chunked and length), "two framings"
        self._left = int(length) if length is not None else None
        return answer

    async def piece(self) -> bytes:
        """Read the next part of the body: one chunk where there are chunks; empty at its end."""
        async with asyncio.timeout(LIMIT_S):
            if self.is_chunked:
                return await self._chunk()
            if self._left is None:
                return await self._reader.read(65536)
            piece = await self._reader.read(min(65536, self._left))
            if self._left and not piece:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._left -= len(piece)
            return piece

    async def _chunk(self) -> bytes:
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def body(self) -> bytes:
        """Read the rest of the body."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """Read one whole answer."""
        head = await self.head()
        return head._replace(body=await self.body() if has_body and head.status not in (204, 304) else b"")

    async def line(self) -> bytes:
        """Read one line of whatever comes."""
        async with asyncio.timeout(LIMIT_S):
            return await self._reader.readuntil(b"\n")

    async def rest(self) -> bytes:
        """Read until the gateway closes the connection; a reset counts as the end."""
        pieces = []
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionError):
                while piece := await self._reader.read(65536):
                    pieces.append(piece)
        return b"".join(pieces)

    def half_close(self) -> None:
        """Say that nothing more will be sent; the gateway may have closed just now."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def vanish(self) -> None:
        """Be gone with a reset, as a killed process is."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Leave in good order."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int, *, buffer_bytes: int | None = None) -> AsyncIterator[RawClient]:
    """Connect; a small ``buffer_bytes`` makes a client that soon stops taking what it does not read."""
    sock = socket.socket()
    sock.setblocking(False)
    if buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    client = RawClient(*await asyncio.open_connection(sock=sock, limit=1 << 18))
    try:
        yield client
    finally:
        await client.close()


def request(
    body: bytes | object, *headers: str, path: str = "/v1/chat/completions", method: str = "POST", version: str = "1.1"
) -> bytes:
    """Write one well-formed request with a content-length."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"{method} {path} HTTP/{version}", "host: gateway", *headers]
    if data or method == "POST":
        lines.append(f"content-length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def split_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    assert colon, line
    assert name == name.strip(), line
    return name.lower(), value.strip()
