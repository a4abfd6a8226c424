"""Lets clients in through TLS: accepts, asks for room before any handshake, hands a connection on when it is shaken.

A handshake that fails is counted and not told, whoever scans ports would fill the log with it; who speaks HTTP without
TLS is told so. Accepts by itself, because asyncio's servers show a connection only when its handshake is over.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from typing import TYPE_CHECKING

from cortex.gateway.data.front_connection import FrontConnection
from cortex.kit.listener import ACCEPTS_AT_ONCE, BACKLOG

if TYPE_CHECKING:
    from cortex.gateway.data.front import Front
    from cortex.kit.task import TaskOwner

log = logging.getLogger(__name__)

HANDSHAKE_RECORD = 0x16
"""First byte of every ClientHello. Source: RFC 8446 §5.1."""
NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port speaks TLS: ask for https:// instead of http://.\n"
)
PAUSE_S = 1.0
"""After the process ran out of descriptors, until it tries again to accept."""
_OUT_OF = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class TlsAcceptor:
    """Accepts on one listening socket, which is its own from here on."""

    def __init__(
        self,
        front: "Front",
        sock: socket.socket,
        context: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
        tasks: "TaskOwner",
    ) -> None:
        self.failed = 0
        """Handshakes that came to nothing."""
        self._front = front
        self._sock = sock
        self._context = context
        self._loop = loop
        self._tasks = tasks
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = self._is_exhausted = False
        sock.setblocking(False)
        sock.listen(BACKLOG)
        loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more; handshakes under way go on."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF:
                    raise
                self._pause(error)
                return
            self._is_exhausted = False
            peer = str(address[0]) if isinstance(address, tuple) else ""
            if self._front.room.enter(peer):
                sock.setblocking(False)
                shaking = self._tasks.start(self._let_in(sock, peer), f"handshake with {peer}")
                shaking.add_done_callback(lambda _: self._front.settled())
            else:
                sock.close()

    def _pause(self, error: OSError) -> None:
        if not self._is_exhausted:
            log.error("no connection can be accepted: %s; tried again every %g s", error.strerror, PAUSE_S)
        self._is_exhausted = True
        self._loop.remove_reader(self._sock)
        self._timer = self._loop.call_later(PAUSE_S, lambda: self._loop.add_reader(self._sock, self._accept))

    async def _let_in(self, sock: socket.socket, peer: str) -> None:
        connection = FrontConnection(self._front, peer)
        limit = self._front.limit
        try:
            async with asyncio.timeout(limit.head_timeout_s):
                if not await self._speaks_tls(sock):
                    raise ConnectionAbortedError
                await self._loop.connect_accepted_socket(
                    lambda: connection,
                    sock,
                    ssl=self._context,
                    ssl_handshake_timeout=limit.head_timeout_s,
                    ssl_shutdown_timeout=limit.client_stall_s,
                )
        except (OSError, TimeoutError, ValueError) as error:
            self.failed += 1
            log.debug("no TLS with %s: %s", peer, error)
        finally:
            if not connection.is_made:
                self._front.room.leave(peer)
                sock.close()

    async def _speaks_tls(self, sock: socket.socket) -> bool:
        """Look at the first byte without taking it; tell who speaks plainly that this is no place for it."""
        await self._until_readable(sock)
        first = sock.recv(1, socket.MSG_PEEK)
        if first and first[0] != HANDSHAKE_RECORD:
            with contextlib.suppress(OSError):
                sock.recv(65536)  # what is left unread would reset the connection, and the answer with it
                sock.send(NOT_TLS)
                sock.shutdown(socket.SHUT_WR)
        return bool(first) and first[0] == HANDSHAKE_RECORD

    async def _until_readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()

        def tell() -> None:
            if not readable.done():
                readable.set_result(None)

        self._loop.add_reader(sock, tell)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)
