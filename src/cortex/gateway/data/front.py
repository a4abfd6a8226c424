"""The front door: where clients connect, and what keeps time for all of their connections.

Knows no route and no model: each request is handed to the router it is given. One sweep looks after idle, stalled and
lingering connections, so that no request needs a timer. What a single connection does: ``front_connection``.

Why not uvicorn here: ``docs/decisions/0003-front-door.md``.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from cortex.gateway.data.door_room import DoorRoom
from cortex.gateway.data.front_connection import FrontConnection
from cortex.gateway.data.tls_acceptor import TlsAcceptor
from cortex.kit.listener import ACCEPTS_AT_ONCE, BACKLOG
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    import socket
    import ssl

    from cortex.gateway.data.exchange import Exchange, Handler

Router = Callable[["Exchange"], "Handler"]


LEAVING_IDLE_S = 5.0
"""A door that is being left closes connections that have been idle for so long, instead of ``keep_alive_s``."""


ACCEPTED_S = 0.2
"""What was accepted has become a connection by then, or shakes hands."""


class FrontLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What one client connection may do. ``head_timeout_s``: to send a request's head, or to be done with TLS."""

    max_header_bytes: int = 65536
    keep_alive_s: float = 75.0
    head_timeout_s: float = 30.0
    client_stall_s: float = 300.0
    min_body_bytes_per_s: int = 500
    """A body may take ``client_stall_s``, and a second more for so many bytes of it; 0: any time."""
    sweep_s: float = 1.0


class Front:
    """A listening door: all its connections, their limits, its start and its stop."""

    def __init__(
        self,
        router: Router,
        limit: FrontLimit,
        loop: asyncio.AbstractEventLoop,
        *,
        room: DoorRoom | None = None,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        """``tls``: the door speaks TLS and nothing else."""
        self.router = router
        self.limit = limit
        self.room = room or DoorRoom()
        self.is_tls = tls is not None
        self.acceptors: list[TlsAcceptor] = []
        self._tls = tls
        self._shaking = TaskOwner()
        self.connections: set[FrontConnection] = set()
        self.is_leaving = False
        """Every answer is the last one on its connection."""
        self.is_stopping = False
        self.now_s = loop.time
        self._loop = loop
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._all_gone = asyncio.Event()

    async def start(self, sockets: "list[socket.socket]") -> None:
        """Accept connections on sockets that are already bound."""
        for sock in sockets:
            if self._tls is not None:
                self.acceptors.append(TlsAcceptor(self, sock, self._tls, self._loop, self._shaking))
                continue
            accept = self._loop.create_server(lambda: FrontConnection(self), sock=sock, backlog=ACCEPTS_AT_ONCE)
            self._servers.append(await accept)
            sock.listen(BACKLOG)
        self._timer = self._loop.call_later(self.limit.sweep_s, self._sweep_again)

    @property
    def idle_s(self) -> float:
        """How long a connection may be idle."""
        return min(LEAVING_IDLE_S, self.limit.keep_alive_s) if self.is_leaving else self.limit.keep_alive_s

    def leave(self, *, accepts: bool) -> None:
        """Serve on, and send everybody elsewhere: no connection is closed on a request that is on its way.

        Answers say that they are the last on their connection, and one is closed once it was idle for some seconds.
        ``accepts``: new ones are taken nevertheless; else they wait for whoever listens on the same sockets.
        """
        self.is_leaving = True
        if not accepts:
            self._accept_no_more()
        for connection in list(self.connections):
            connection.leave_in_turn()

    async def left(self) -> None:
        """Return when every connection is gone, those included that were being made when no more were accepted."""
        await asyncio.sleep(ACCEPTED_S)
        await self._shaking.over()
        await self._wait_gone()

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let running answers finish for ``grace_s``, then end them with an error in their dialect."""
        self.is_leaving = self.is_stopping = True
        self._accept_no_more()
        await self._shaking.stop()
        for connection in list(self.connections):
            connection.leave()
        try:
            async with asyncio.timeout(grace_s):
                await self._wait_gone()
        except TimeoutError:
            for connection in list(self.connections):
                connection.shut()
            await asyncio.sleep(0)
        for connection in list(self.connections):
            connection.abort()
        await self._wait_gone()
        if self._timer is not None:
            self._timer.cancel()

    def _accept_no_more(self) -> None:
        for server in self._servers:
            server.close()
        for acceptor in self.acceptors:
            acceptor.close()

    async def _wait_gone(self) -> None:
        while self.connections or len(self._shaking):
            self._all_gone.clear()
            await self._all_gone.wait()

    def forget(self, connection: FrontConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.settled()

    def settled(self) -> None:
        """A connection is gone, or a handshake is over."""
        if not self.connections:
            self._all_gone.set()

    def sweep(self, now_s: float) -> None:
        """Close what is idle, stalled or lingering too long."""
        for connection in list(self.connections):
            connection.sweep(now_s)

    def _sweep_again(self) -> None:
        self.sweep(self.now_s())
        self._timer = self._loop.call_later(self.limit.sweep_s, self._sweep_again)
