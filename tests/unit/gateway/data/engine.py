"""A scripted engine on a loopback port, and the owner of a request that takes down what it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from cortex.contract.error import UpstreamError
from cortex.fleet.effect import Target
from cortex.gateway.data.upstream import Upstream, UpstreamConnection
from cortex.kit.task import TaskOwner

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def target(url: str, credential: str | None = None) -> Target:
    return Target(node="n", model="m", generation=1, url=url, engine_model="m", credential=credential)


class Caller:
    """Owns one request. With ``finishes`` it gives the connection back when the answer is whole."""

    def __init__(self, *, finishes: bool = True) -> None:
        self.finishes = finishes
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.error: UpstreamError | None = None
        self.is_untouched = False
        self.connection: UpstreamConnection | None = None
        self._heard = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    async def until(self, word: str) -> None:
        """Wait until it was told something."""
        while word not in self.told:
            self._heard.clear()
            await self._heard.wait()

    def _hear(self, word: str) -> None:
        self.told.append(word)
        self._heard.set()

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self._hear("connected")

    def on_connect_failed(self, error: UpstreamError) -> None:
        self.error = error
        self._hear("failed")

    def on_answer(self, connection: UpstreamConnection, body: bytes, is_complete: bool) -> None:
        self.status, self.headers = connection.status, connection.headers
        if body:
            self.pieces.append(body)
        self._hear("whole" if is_complete else "part")
        if is_complete and self.finishes:
            connection.finish()

    def on_lost(self, error: UpstreamError, is_untouched: bool) -> None:
        self.error, self.is_untouched = error, is_untouched
        self._hear("lost")

    def on_upstream_pause(self) -> None:
        self._hear("pause")

    def on_upstream_resume(self) -> None:
        self._hear("resume")


@contextlib.asynccontextmanager
async def an_engine(script: Script) -> AsyncIterator[str]:
    """Run ``script`` for every connection; give the engine's URL."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await script(reader, writer)
        finally:
            writer.close()
            running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.asynccontextmanager
async def an_upstream(*, connect_timeout_s: float = 5.0, idle_limit_s: float = 60.0) -> AsyncIterator[Upstream]:
    """An upstream client that is closed in the end."""
    tasks = TaskOwner()
    upstream = Upstream(
        asyncio.get_running_loop(), tasks, connect_timeout_s=connect_timeout_s, idle_limit_s=idle_limit_s
    )
    try:
        yield upstream
    finally:
        upstream.close()
        await tasks.stop()
        await asyncio.sleep(0)
