"""Serves an ASGI application on a listening socket inside the running event loop, with uvicorn and httptools.

The caller keeps what uvicorn likes to take: the event loop, the signals and the logging set-up.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Generator
from typing import Any, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cortex.kit.listener import ACCEPTS_AT_ONCE, BACKLOG
from cortex.kit.task import TaskOwner

MAX_PIPELINED = 128
"""Requests of one connection that may wait behind the one being answered."""
MAX_BARE_BYTES = 65536
"""Largest head of a request, and whatever else is no body."""


class Serving(NamedTuple):
    """A server that is up; ``ended`` is done only if it died by itself or after the block was left."""

    host: str
    port: int
    ended: asyncio.Task[None]


@contextlib.asynccontextmanager
async def serving(
    app: Any,
    sock: socket.socket,
    *,
    grace_s: float = 5.0,
    keep_alive_s: int = 75,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Serving]:
    """Serve ``app`` on the listening ``sock`` until the block is left, then let running requests finish.

    After ``grace_s`` they are cancelled. ``keep_alive_s`` bounds the wait for a request's head, too. The socket belongs
    to the server from here on and is closed by it. With ``tls`` it speaks TLS and nothing else.
    """
    host, port = sock.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        backlog=ACCEPTS_AT_ONCE,
    )
    config.load()
    config.ssl = tls
    server, owner = _Server(config), TaskOwner()
    task = owner.start(server.serve([sock]), f"serving {host}:{port}")
    up = owner.start(server.is_up.wait(), f"waiting for {host}:{port}")
    try:
        await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield Serving(host, port, task)
    finally:
        server.leave()
        await asyncio.wait((task,))
        await server.finish()
        await owner.stop()
        sock.close()


class _Connection(HttpToolsProtocol):
    """uvicorn's own, with the limits that it lacks: on pipelined requests, on what is not body, on silence in a head.

    Measured with 0.54: 20 MB of pipelined requests took 1 GB of memory and 200 MB of headers 4 GB, without a limit.
    Who goes beyond one is cut off.
    """

    _bare_bytes = 0
    """What came since the last of a body or the end of a head: headers, trailers, chunk extensions."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bare_bytes += len(data)
        super().data_received(data)
        if len(self.pipeline) > MAX_PIPELINED or self._bare_bytes > MAX_BARE_BYTES:
            self.pipeline.clear()
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._bare_bytes = 0
        self._stop_awaiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bare_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bare_bytes = 0
        super().on_message_complete()

    def _await_head(self) -> None:
        self._stop_awaiting()
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _stop_awaiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()


class _Server(uvicorn.Server):
    """A uvicorn server without signal handlers that can be waited for and told to leave."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._is_leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(BACKLOG)
        self.is_up.set()

    async def main_loop(self) -> None:
        # uvicorn wakes ten times a second to see whether it should exit; once is enough for its Date header.
        tick = 0
        while not await self.on_tick(tick * 10):
            tick += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._is_leaving.wait()

    def leave(self) -> None:
        self.should_exit = True
        self._is_leaving.set()

    async def finish(self) -> None:
        """Wait for requests that were cancelled at the end of the grace time, and cut what is still connected."""
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=1.0)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
