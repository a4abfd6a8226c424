"""The clients of a soak: each asks again and again, and ends a request as its kind does. What is odd is written down.

Kinds: who reads to the end; who leaves in the middle; who reads slowly, and leaves; who wants no stream; who asks the
real engine. What a request came to is one word, or what the gateway said was wrong.
"""

import asyncio
import contextlib
import re
import socket
import time
from collections import Counter
from random import Random
from typing import NamedTuple

import msgspec

CHUNKS_PER_S = 2.0
STREAM_S = (5.0, 40.0)
"""How long a stream takes from its first chunk to its last."""
SLOW_CHUNKS = 20_000
SLOW_EVERY_US = 2_000
SLOW_READ_BYTES = 4096
SLOW_PAUSE_S = 0.2
"""A slow reader takes 20 KB/s of what comes with 150 KB/s."""
REST_S = (0.1, 2.0)
"""Between two requests of a client."""
LIMIT_S = 180.0
"""No request may take longer."""
CODE = re.compile(rb'"code": ?"([a-z_]+)"')

GOOD = frozenset(("done", "left"))


class Kind(NamedTuple):
    """How many of a hundred clients are so, and what they do."""

    name: str
    share: int
    model: str = "bench"
    leaves: bool = False
    is_slow: bool = False
    is_stream: bool = True


KINDS = (
    Kind("reads to the end", 57),
    Kind("leaves in the middle", 33, leaves=True),
    Kind("reads slowly", 5, leaves=True, is_slow=True),
    Kind("no stream", 4, is_stream=False),
    Kind("real engine", 1, model="tiny"),
)


class Odd(NamedTuple):
    """A request that did not come to a good end."""

    at_s: float
    kind: Kind
    what: str


class Crowd:
    """So many clients at a time, before one gateway."""

    def __init__(self, port: int, size: int, rng: Random) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.odd: list[Odd] = []
        self.open = 0
        self._port = port
        self._size = size
        self._rng = rng
        self._is_over = False

    async def run(self, ramp_s: float) -> None:
        """Ask until told to end; begin one after the other within ``ramp_s``."""
        kinds = [kind for kind in KINDS for _ in range(kind.share)]
        async with asyncio.TaskGroup() as group:
            for number in range(self._size):
                kind = kinds[number * len(kinds) // self._size]
                group.create_task(self._client(kind, number * ramp_s / self._size))

    def end(self) -> None:
        """Let every client end with the request that it is at."""
        self._is_over = True

    async def _client(self, kind: Kind, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while not self._is_over:
            self.open += 1
            what = await self._ask(kind)
            self.open -= 1
            self.outcomes[kind.name, what if what in GOOD else "odd"] += 1
            if what not in GOOD:
                self.odd.append(Odd(time.monotonic(), kind, what))
            await asyncio.sleep(self._rng.uniform(*REST_S))

    async def _ask(self, kind: Kind) -> str:
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self._exchange(kind)
        except TimeoutError:
            return f"not over after {LIMIT_S:g} s"
        except OSError as error:
            return f"connection: {type(error).__name__}"

    async def _exchange(self, kind: Kind) -> str:
        sock = socket.socket()
        if kind.is_slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_READ_BYTES)
        sock.setblocking(False)
        with contextlib.closing(sock):
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
            length_s = self._rng.uniform(*STREAM_S)
            await asyncio.get_running_loop().sock_sendall(sock, request(kind, length_s))
            leaves_s = self._rng.uniform(0, length_s) if kind.leaves else None
            return await self._read(sock, kind, leaves_s)

    async def _read(self, sock: socket.socket, kind: Kind, leaves_s: float | None) -> str:
        loop, began_s = asyncio.get_running_loop(), time.monotonic()
        head = tail = b""
        while True:
            if leaves_s is not None and time.monotonic() - began_s > leaves_s and head:
                return "left" if head.startswith(b"HTTP/1.1 200 ") else told(head, tail, kind)
            if kind.is_slow:
                await asyncio.sleep(SLOW_PAUSE_S)
            piece = await loop.sock_recv(sock, SLOW_READ_BYTES if kind.is_slow else 65536)
            if not piece:
                return told(head, tail, kind)
            head = head or piece
            tail = (tail + piece)[-2048:]


def request(kind: Kind, length_s: float) -> bytes:
    """Return the bytes of one request; orders to the upstream stand in its prompt."""
    every_us = SLOW_EVERY_US if kind.is_slow else round(1e6 / CHUNKS_PER_S)
    count = 0 if not kind.is_stream else SLOW_CHUNKS if kind.is_slow else max(2, round(length_s * CHUNKS_PER_S))
    content = f"@bench n={count} i={every_us} r=1 k=0; tell me something"
    body = {"model": kind.model, "messages": [{"role": "user", "content": content}], "max_tokens": 60}
    text = msgspec.json.encode({**body, "stream": kind.is_stream})
    lines = "POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\nconnection: close"
    return f"{lines}\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text


def told(head: bytes, tail: bytes, kind: Kind) -> str:
    """Return what an answer that is over came to."""
    if not head:
        return "no answer"
    status = head[9:12].decode("latin-1")
    code = CODE.search(tail)
    if code is not None:
        return f"{status} {code[1].decode()}"
    is_whole = tail.endswith(b"0\r\n\r\n") if b"chunked" in head.lower() else tail.endswith(b"}")
    if status == "200" and is_whole and (not kind.is_stream or b"data: [DONE]" in tail):
        return "done"
    return f"{status} broken off"
