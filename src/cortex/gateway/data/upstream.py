"""The gateway's own HTTP/1.1 client: connections to engines, kept alive and used again only when that is safe.

One read of the socket gives at most one call to the request's owner, with everything the read held joined, so that
chunks are never split and never wait. Retrying is the owner's business; this file says exactly what happened.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import Protocol
from urllib.parse import urlsplit

import httptools

from cortex.contract.error import UpstreamBroken, UpstreamError, UpstreamUnreachable
from cortex.fleet.effect import Target
from cortex.kit.task import TaskOwner

MAX_HEADER_BYTES = 65536
KEEP_ALIVE_MARGIN_S = 1.0
_NO_BODY_STATUS = frozenset((204, 304))


class Owner(Protocol):
    """A request on an upstream connection."""

    def on_connected(self, connection: "UpstreamConnection") -> None:
        """A fresh connection is there."""

    def on_connect_failed(self, error: UpstreamError) -> None:
        """There is no connection to be had."""

    def on_answer(self, connection: "UpstreamConnection", body: bytes, is_complete: bool) -> None:
        """What one read brought. On the first call ``connection.status`` and ``.headers`` are set."""

    def on_lost(self, error: UpstreamError, is_untouched: bool) -> None:
        """The connection broke; ``is_untouched``: it was a reused one and not one byte of an answer had come."""

    def on_upstream_pause(self) -> None:
        """The engine reads slower than it is written to."""

    def on_upstream_resume(self) -> None:
        """The engine has caught up."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to an engine; carries one request at a time."""

    __slots__ = (
        "_connect",
        "_is_chunked",
        "_has_length",
        "_is_head_done",
        "_is_keep_alive",
        "_is_message_done",
        "_header_bytes",
        "_keep_alive_s",
        "_now_s",
        "_parser",
        "_pieces",
        "_origin",
        "_read_bytes",
        "headers",
        "idle_since_s",
        "is_reused",
        "owner",
        "status",
        "transport",
    )

    def __init__(self, origin: "Origin") -> None:
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.owner: Owner | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_reused = False
        self.idle_since_s = 0.0
        self._origin = origin
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._keep_alive_s: float | None = None
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self._read_bytes = 0
        self._header_bytes = 0
        self._is_chunked = self._has_length = False
        self._is_head_done = self._is_message_done = self._is_keep_alive = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        _keep_probing(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._origin.forget(self)
        owner, self.owner = self.owner, None
        if owner is not None:
            self._tell_lost(owner, f"The engine closed the connection{_where(self)}{f': {exc}' if exc else ''}.")

    def eof_received(self) -> bool:
        owner = self.owner
        if owner is not None and self._is_head_done and not self._is_chunked and not self._has_length:
            self.owner = None
            owner.on_answer(self, b"", True)
        return False

    def data_received(self, data: bytes) -> None:
        owner = self.owner
        if owner is None:
            self.transport.abort()  # an engine that speaks unasked cannot be trusted with the next request
            return
        self._read_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self._is_message_done:
                self._break(f"The engine's answer is not valid HTTP{_where(self)}: {exc}.")
                return
            self._has_length = False
            self.transport.abort()  # the answer is whole, what follows it is not ours
        if not self._is_head_done:
            if self._read_bytes > MAX_HEADER_BYTES:
                self._break(f"The engine's headers are larger than {MAX_HEADER_BYTES} bytes.")
            return
        self._deliver(owner)

    def _deliver(self, owner: Owner) -> None:
        pieces = self._pieces
        body = b""
        if pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
        if self._is_message_done:
            self.owner = None
        owner.on_answer(self, body, self._is_message_done)

    def pause_writing(self) -> None:
        if self.owner is not None:
            self.owner.on_upstream_pause()

    def resume_writing(self) -> None:
        if self.owner is not None:
            self.owner.on_upstream_resume()

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._is_message_done:
            raise ValueError("a second answer to one request")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head_done:
            return  # trailers
        name = name.lower()
        self._header_bytes += len(name) + len(value) + 4
        if name == b"content-length":
            self._has_length = True
        elif name == b"transfer-encoding":
            self._is_chunked = value.lower().endswith(b"chunked")
        elif name == b"keep-alive":
            self._keep_alive_s = _keep_alive_hint_s(value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("headers too large")
        self.status = status
        self._is_head_done = True
        # Asked now: once the message is complete, llhttp has forgotten how its length was told and says no.
        self._is_keep_alive = self._parser.should_keep_alive()
        if status in _NO_BODY_STATUS:
            self._has_length = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._is_head_done:
            self._is_message_done = True

    # for the owner

    def send(self, owner: Owner, head: bytes, body: bytes) -> None:
        """Send a request; ``owner`` hears of the answer. A large body is not copied behind the head."""
        self.owner = owner
        self._reset()
        if len(body) <= 16384:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    def finish(self, is_request_sent: bool = True) -> None:
        """The answer was taken whole: keep the connection if both sides can still use it."""
        reusable = (
            is_request_sent
            and self._is_message_done
            and (self._is_chunked or self._has_length)
            and self._is_keep_alive
            and not self.transport.is_closing()
        )
        if reusable:
            self._origin.keep(self)
        else:
            self.transport.close()

    def drop(self) -> None:
        """Close at once, so that the engine stops generating. The owner hears nothing more."""
        self.owner = None
        self.transport.abort()

    def is_fresh_enough(self, now_s: float, idle_limit_s: float) -> bool:
        """Whether an idle connection is unlikely to be closed by the engine just now."""
        limit_s = idle_limit_s
        if self._keep_alive_s is not None:
            limit_s = min(limit_s, max(self._keep_alive_s - KEEP_ALIVE_MARGIN_S, 0.0))
        return now_s - self.idle_since_s <= limit_s

    def _break(self, why: str) -> None:
        owner, self.owner = self.owner, None
        self.transport.abort()
        if owner is not None:
            self._tell_lost(owner, why)

    def _tell_lost(self, owner: Owner, why: str) -> None:
        owner.on_lost(UpstreamBroken(why), self.is_reused and not self._read_bytes)


class Origin:
    """One generation of an instance as the data plane sees it: its address, its idle connections, its request heads."""

    def __init__(self, target: Target, upstream: "Upstream") -> None:
        parts = urlsplit(target.url)
        self.target = target
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc.rpartition("@")[2].encode()
        self.prefix = parts.path.rstrip("/").encode()
        self.last_used_s = 0.0
        self.heads: dict[bytes, bytes] = {}
        """Request line and constant headers by path, filled by the owner."""
        self._idle: deque[UpstreamConnection] = deque()
        self._upstream = upstream

    def take(self, now_s: float) -> UpstreamConnection | None:
        """An idle connection, the most recently used first; None when there is none."""
        self.last_used_s = now_s
        while self._idle:
            connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            if connection.is_fresh_enough(now_s, self._upstream.idle_limit_s):
                connection.is_reused = True
                return connection
            connection.transport.close()
        return None

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection that can be used again."""
        connection.idle_since_s = self._upstream.now_s()
        connection.transport.resume_reading()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> bool:
        """Close idle connections past their time; whether anything is left worth keeping."""
        while self._idle and not self._idle[0].is_fresh_enough(now_s, self._upstream.idle_limit_s):
            self._idle.popleft().transport.close()
        return bool(self._idle) or now_s - self.last_used_s <= self._upstream.idle_limit_s

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().transport.abort()


class Upstream:
    """All origins, and the making of new connections to them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tasks: TaskOwner, *, connect_timeout_s: float, idle_limit_s: float
    ):
        self.now_s = loop.time
        self.idle_limit_s = idle_limit_s
        self._loop = loop
        self._tasks = tasks
        self._connect_timeout_s = connect_timeout_s
        self._origins: dict[Target, Origin] = {}
        self._tls: ssl.SSLContext | None = None

    def origin(self, target: Target) -> Origin:
        """The origin of a target, made on first use."""
        origin = self._origins.get(target)
        if origin is None:
            origin = self._origins[target] = Origin(target, self)
        return origin

    def connect(self, origin: Origin, owner: Owner) -> None:
        """Open a connection for an owner, who is told when it is there or why it is not."""
        self._tasks.start(self._connect(origin, owner), "upstream connect")

    async def _connect(self, origin: Origin, owner: Owner) -> None:
        where = f"{origin.host}:{origin.port}"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(origin), origin.host, origin.port, ssl=self._context(origin)
                )
        except TimeoutError:
            why = f"The engine at {where} did not accept a connection within {self._connect_timeout_s:g} s."
            owner.on_connect_failed(UpstreamUnreachable(why))
        except OSError as exc:
            owner.on_connect_failed(
                UpstreamUnreachable(f"The engine at {where} cannot be reached: {exc.strerror or exc}.")
            )
        else:
            owner.on_connected(connection)

    def _context(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.is_tls:
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def sweep(self, now_s: float) -> None:
        """Close idle connections past their time and forget origins nobody uses."""
        for target, origin in list(self._origins.items()):
            if not origin.sweep(now_s):
                del self._origins[target]

    def close(self) -> None:
        """Close every idle connection."""
        for origin in self._origins.values():
            origin.close()
        self._origins.clear()


def _keep_probing(transport: asyncio.BaseTransport) -> None:
    """A host that lost its power sends no reset: let the kernel find out within a minute."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _keep_alive_hint_s(value: bytes) -> float | None:
    for part in value.split(b","):
        key, _, number = part.strip().partition(b"=")
        if key.lower() == b"timeout" and number.strip().isdigit():
            return float(number)
    return None


def _where(connection: UpstreamConnection) -> str:
    return " in the middle of its answer" if connection.status else " before answering"
