"""The gateway's own HTTP/1.1 client: connections to engines, kept alive and used again only when that is safe.

One read of the socket gives at most one call to the request's owner, with everything the read held joined, so that
chunks are never split and never wait. Retrying is the owner's business; this file says exactly what happened.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import httptools

from cortex.contract.error import UpstreamBroken, UpstreamError, UpstreamUnreachable
from cortex.fleet.effect import Target
from cortex.kit.task import TaskOwner

MAX_HEADER_BYTES = 65536
KEEP_ALIVE_MARGIN_S = 1.0
"""An engine that says how long it keeps an idle connection is believed for so much less."""


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
        "_bare_bytes",
        "_is_head_done",
        "_is_message_done",
        "_is_reusable",
        "_keep_alive_s",
        "_origin",
        "_parser",
        "_pieces",
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
        self.status = self._read_bytes = self._bare_bytes = 0
        self._is_head_done = self._is_message_done = self._is_reusable = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._origin.open_count += 1
        _keep_probing(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._origin.forget(self)
        self._parser = None  # type: ignore[assignment]  # it holds this object's methods: no work for the collector
        owner, self.owner = self.owner, None
        if owner is not None:
            self._tell_lost(owner, f"The engine closed the connection{_where(self)}{f': {exc}' if exc else ''}.")

    def eof_received(self) -> bool:
        owner = self.owner
        if owner is not None and self._is_head_done and _lasts_until_close(self.headers):
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
                self._break(f"The engine's answer is not valid HTTP{_where(self)}: {_reason(exc)}.")
                return
            self._is_reusable = False  # the answer is whole, what follows it is not ours
        if not self._is_head_done:
            if self._read_bytes > MAX_HEADER_BYTES:
                self._break(f"The engine's headers are larger than {MAX_HEADER_BYTES} bytes.")
            return
        body = b""
        pieces = self._pieces
        if pieces:
            self._bare_bytes = 0
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
        elif not self._is_message_done:
            self._bare_bytes += len(data)
            if self._bare_bytes > 2 * MAX_HEADER_BYTES:
                self._break("The engine sends no body but trailers or chunk extensions without end.")
                return
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
        if not self._is_head_done:  # else it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100:
                raise ValueError(f"status {status}")
            return
        if self._read_bytes > MAX_HEADER_BYTES and _size(self.headers) > MAX_HEADER_BYTES:
            raise ValueError(f"headers larger than {MAX_HEADER_BYTES} bytes")
        self.status = status
        self._is_head_done = True
        # Asked now: once the message is complete, llhttp has forgotten how its length was told and says no.
        self._is_reusable = self._parser.should_keep_alive()
        if not self.is_reused:
            self._keep_alive_s = _keep_alive_hint_s(self.headers)

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
        transport = self.transport
        if (
            is_request_sent
            and self._is_message_done
            and self._is_reusable
            and not transport.is_closing()
            and not transport.get_write_buffer_size()  # else the engine has answered without reading it all
        ):
            self._origin.keep(self)
        else:
            transport.abort()

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
        parts = _split(target.url)
        self.target = target
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        """Empty where the URL is none."""
        self.port = parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc.rpartition("@")[2].encode()
        self.prefix = parts.path.rstrip("/").encode()
        self.is_fenced = bool(self.prefix) or target.credential is not None
        """Whether the address is of one generation alone, so that another one does not answer there."""
        self.last_used_s = 0.0
        self.open_count = 0
        """Connections there are, idle or not."""
        self._heads: dict[bytes, bytes] = {}
        self._is_closed = False
        self._idle: deque[UpstreamConnection] = deque()
        self._upstream = upstream

    def head(self, path: bytes, query: bytes) -> bytes:
        """Request line and constant headers of a POST; made once per path, but for the few that have a query."""
        made = None if query else self._heads.get(path)
        if made is not None:
            return made
        line = self.prefix + path + (b"?" + query if query else b"")
        made = b"POST %b HTTP/1.1\r\nhost: %b\r\n" % (line, self.authority)
        if self._upstream.via:
            made += b"via: %b\r\n" % self._upstream.via
        if self.target.credential:
            made += b"authorization: Bearer %b\r\n" % self.target.credential.encode()
        if not query:
            self._heads[path] = made
        return made

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
        if self._is_closed:
            connection.transport.abort()
            return
        connection.idle_since_s = self._upstream.now_s()
        connection.transport.resume_reading()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self.open_count -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> bool:
        """Close idle connections past their time; whether the origin is in use or was lately."""
        while self._idle and not self._idle[0].is_fresh_enough(now_s, self._upstream.idle_limit_s):
            self._idle.popleft().transport.close()
        return self.open_count > 0 or now_s - self.last_used_s <= self._upstream.idle_limit_s

    def close(self) -> None:
        """Close every idle connection, and those in use when they are given back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().transport.abort()


class Upstream:
    """All origins, and the making of new connections to them. ``now_s``: a clock; default: the loop's.

    ``via``: what engines are told of the gateway, so that a request which comes back to it is known (RFC 9110 §7.6.3).
    ``tls_of``: the context for a target's ``https``, None: what the system trusts.

    uvloop's clock stands still within one turn and counts whole milliseconds: enough for limits, not for measurements.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tasks: TaskOwner,
        *,
        connect_timeout_s: float,
        idle_limit_s: float,
        now_s: Callable[[], float] | None = None,
        via: bytes = b"",
        tls_of: Callable[[Target], ssl.SSLContext | None] = lambda _: None,
    ):
        self.now_s = now_s or loop.time
        self.via = via
        self.idle_limit_s = idle_limit_s
        self._loop = loop
        self._tasks = tasks
        self._connect_timeout_s = connect_timeout_s
        self._origins: dict[Target, Origin] = {}
        self._tls: ssl.SSLContext | None = None
        self._tls_of = tls_of

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
        where = f"{origin.host}:{origin.port}" if origin.host else f"'{origin.target.url}'"
        try:
            if not origin.host:
                raise ValueError("that is not an address")
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(origin), origin.host, origin.port, ssl=self._context(origin)
                )
        except TimeoutError:
            why = f"The engine at {where} did not accept a connection within {self._connect_timeout_s:g} s."
            owner.on_connect_failed(UpstreamUnreachable(why))
        except (OSError, ValueError) as exc:  # ValueError: no such name can exist
            # asyncio's own words for a refusal are "Connect call failed (host, port)"; the system's say why.
            number = getattr(exc, "errno", None) or 0
            why = os.strerror(number) if number > 0 else getattr(exc, "strerror", None) or str(exc)
            owner.on_connect_failed(UpstreamUnreachable(f"The engine at {where} cannot be reached: {why}."))
        else:
            if connection.transport.is_closing():
                why = f"The engine at {where} closed the connection at once."
                owner.on_connect_failed(UpstreamUnreachable(why))
            else:
                owner.on_connected(connection)

    def _context(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.is_tls:
            return None
        own = self._tls_of(origin.target)
        if own is not None:
            return own
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def sweep(self, now_s: float) -> None:
        """Close idle connections past their time and forget origins nobody uses."""
        for target, origin in list(self._origins.items()):
            if not origin.sweep(now_s):
                del self._origins[target]

    def close(self) -> None:
        """Close every idle connection, and those in use when they are given back."""
        for origin in self._origins.values():
            origin.close()
        self._origins.clear()


def _split(url: str) -> SplitResult:
    """The parts of a URL; nothing but empty ones when it cannot be one."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else urlsplit("")
    except ValueError:
        return urlsplit("")


def _keep_probing(transport: asyncio.BaseTransport) -> None:
    """A host that lost its power sends no reset: let the kernel find out within a minute."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _keep_alive_hint_s(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds of ``Keep-Alive: timeout=5, max=100``."""
    for name, value in headers:
        if name == b"keep-alive":
            for part in value.split(b","):
                key, _, number = part.partition(b"=")
                if key.strip().lower() == b"timeout" and number.strip().isdigit():
                    return float(number)
    return None


def _lasts_until_close(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether an answer with a body ends only with its connection."""
    for name, value in headers:
        if name == b"content-length" or (name == b"transfer-encoding" and value.strip().lower().endswith(b"chunked")):
            return False
    return True


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum([len(name) + len(value) + 4 for name, value in headers])


def _reason(exc: Exception) -> str:
    if isinstance(exc, httptools.HttpParserUpgrade):
        return "it switches to another protocol"
    return str(exc.__context__ or exc)


def _where(connection: UpstreamConnection) -> str:
    return " in the middle of its answer" if connection.status else " before answering"
