"""The front door: HTTP/1.1 connections of clients, parsed by httptools (llhttp), each request handed to a handler.

Keeps to the protocol whatever the client does: byte by byte, pipelined, half-closed, oversized, garbage. It knows no
route and no model; what a request means is decided by the router it is given. No task and no timer per request: one
sweep looks after idle, stalled and lingering connections.

A client that closes its sending side counts as gone (as with nginx): a full close looks the same, and an engine must not
generate for nobody. Why not uvicorn here: ``docs/decisions/0003-front-door.md``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import httptools
import msgspec

from cortex.contract.error import CortexError, HeadersTooLarge, MalformedRequest
from cortex.dialects.error import openai_body
from cortex.gateway.data.exchange import JSON_HEADERS, Exchange, Handler
from cortex.gateway.edge_error import status_of

if TYPE_CHECKING:
    import socket

Router = Callable[[Exchange], Handler]

MAX_PIPELINED = 128
PIPELINED_PAUSE_BYTES = 65536
LINGER_S = 2.0
LINGER_BYTES = 16 << 20
_UPGRADE_HEADERS = frozenset((b"connection", b"upgrade", b"http2-settings"))


class FrontLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What one client connection may do. ``keep_alive_s`` also bounds the time to send a request's head."""

    max_header_bytes: int = 65536
    keep_alive_s: float = 75.0
    client_stall_s: float = 300.0
    sweep_s: float = 1.0


class FrontConnection(asyncio.Protocol):
    """One client connection: at most one exchange is being answered, later pipelined ones wait in order."""

    def __init__(self, front: "Front") -> None:
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.current: Exchange | None = None
        self.peer = ""
        """Address of the client, without its port."""
        self.last_read_s = front.now_s()
        self.paused_since_s: float | None = None
        self.is_lingering = False
        self._front = front
        self._now_s = front.now_s
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._queued_bytes = 0
        self._incoming: Exchange | None = None
        self._is_in_head = True
        self._head_bytes = 0
        self._header_bytes = 0
        self._lingered_bytes = 0
        self._is_upgrade = False
        self._is_pumping = False
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._content_length: int | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else ""
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._queue.clear()
        self._incoming = None
        exchange, self.current = self.current, None
        if exchange is not None and not exchange.is_ended:
            exchange.is_ended = True
            if exchange.handler is not None:
                exchange.handler.on_gone()
        self._front.connection_gone()

    def data_received(self, data: bytes) -> None:
        self.last_read_s = self._now_s()
        if self.is_lingering:
            self._linger_on(len(data))
            return
        was_in_head = self._is_in_head
        self._feed(data)
        if was_in_head and self._is_in_head and not self.is_lingering:
            self._head_bytes += len(data)
            if self._head_bytes > self._front.limit.max_header_bytes:
                self._refuse(HeadersTooLarge(_too_large(self._front.limit.max_header_bytes)))

    def eof_received(self) -> bool:
        if self.current is not None:
            self.transport.abort()
        return False

    def pause_writing(self) -> None:
        self.paused_since_s = self._now_s()
        if self.current is not None and self.current.handler is not None:
            self.current.handler.on_pause()

    def resume_writing(self) -> None:
        self.paused_since_s = None
        if self.current is not None and self.current.handler is not None:
            self.current.handler.on_resume()

    # parsing

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._feed_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._refuse(MalformedRequest(f"This is not a valid HTTP/1.1 request: {exc}."))

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Go on with a request that offered another protocol, as RFC 9110 §7.8 allows: as if it had not.

        Java's HttpClient offers h2c with every first request; llhttp stops parsing there.
        """
        method, url, headers = self._parser.get_method(), self._url, self._headers
        self._is_upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        if method == b"CONNECT":
            self._refuse(MalformedRequest("CONNECT is not supported: this is not a forward proxy."))
            return
        kept = b"".join(b"%b: %b\r\n" % pair for pair in headers if pair[0] not in _UPGRADE_HEADERS)
        self._feed(b"".join((method, b" ", url, b" HTTP/1.1\r\n", kept, b"\r\n", rest)))

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = self._header_bytes = 0
        self._url = b""
        self._headers = []
        self._content_length = None

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._header_bytes += len(name) + len(value) + 4
        if self._is_in_head:
            if name == b"content-length":
                self._content_length = int(value)
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_lingering:
            return
        if self._parser.should_upgrade():
            self._is_upgrade = True
            return
        self._is_in_head = False
        if self._header_bytes + len(self._url) > self._front.limit.max_header_bytes:
            self._refuse(HeadersTooLarge(_too_large(self._front.limit.max_header_bytes)))
            return
        self._accept(self._new_exchange())

    def _new_exchange(self) -> Exchange:
        url = self._url
        if url[:1] != b"/":
            url = _origin_form(url)
        path, _, query = url.partition(b"?")
        exchange = Exchange(self, self._parser.get_method(), path, query, self._headers)
        exchange.content_length = self._content_length
        exchange.is_http10 = self._parser.get_http_version() == "1.0"
        exchange.is_keep_alive = not exchange.is_http10 and self._parser.should_keep_alive()
        return exchange

    def _accept(self, exchange: Exchange) -> None:
        self._incoming = exchange
        if self.current is None and not self._queue:
            self._start(exchange)
            return
        self._queue.append(exchange)
        if len(self._queue) > MAX_PIPELINED:
            self._refuse(MalformedRequest(f"More than {MAX_PIPELINED} pipelined requests: wait for answers."))

    def _start(self, exchange: Exchange) -> None:
        self.current = exchange
        exchange.handler = self._front.router(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self._incoming
        if exchange is None or exchange.is_ended:
            return
        if exchange.handler is not None:
            exchange.handler.on_body(body)
            return
        exchange.pending.append(body)
        self._queued_bytes += len(body)
        if self._queued_bytes > PIPELINED_PAUSE_BYTES:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return
        exchange.is_received = True
        if exchange.handler is not None and not exchange.is_ended:
            exchange.handler.on_end()

    # answering

    def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is written; go on with the next request, or close."""
        if self.current is exchange:
            self.current = None
        if not exchange.is_keep_alive or self._front.is_stopping:
            self._close_after(exchange)
        elif self._queue and not self._is_pumping:
            self._pump()

    def _pump(self) -> None:
        """Start queued exchanges, without recursion however many are answered at once."""
        self._is_pumping = True
        while self._queue and self.current is None and not self.is_lingering:
            exchange = self._queue.popleft()
            self._start(exchange)
            pending, exchange.pending = exchange.pending, []
            for piece in pending:
                self._queued_bytes -= len(piece)
                if not exchange.is_ended:
                    exchange.handler.on_body(piece)  # type: ignore[union-attr]
            if exchange.is_received and not exchange.is_ended:
                exchange.handler.on_end()  # type: ignore[union-attr]
        self._is_pumping = False
        if self._queued_bytes <= PIPELINED_PAUSE_BYTES and not self.transport.is_closing():
            self.transport.resume_reading()

    def _close_after(self, exchange: Exchange) -> None:
        self._queue.clear()
        if exchange.is_received:
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Answered before the request was whole: closing now would reset the connection and lose the answer."""
        self.is_lingering = True
        self.last_read_s = self._now_s()
        self._incoming = None
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def _linger_on(self, count: int) -> None:
        self._lingered_bytes += count
        if self._lingered_bytes > LINGER_BYTES:
            self.transport.abort()

    def _refuse(self, error: CortexError) -> None:
        """Answer something that is not a request, once what came before it has been answered; then close."""
        self._incoming = None
        if self.current is not None:
            self.current.is_keep_alive = False
            self._queue.clear()
            self.is_lingering = True
            return
        exchange = Exchange(self, b"GET", b"", b"", [])
        exchange.reply(status_of(error), JSON_HEADERS, openai_body(error))

    def pause_reading(self) -> None:
        """Take no more of the request's body for now."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the request's body again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection without another byte."""
        self.transport.abort()

    def sweep(self, now_s: float) -> None:
        """Close what is idle, stalled or lingering too long."""
        limit = self._front.limit
        silent_s = now_s - self.last_read_s
        if self.is_lingering and self.current is None:
            if silent_s > LINGER_S:
                self.transport.abort()
        elif self.current is None:
            if silent_s > limit.keep_alive_s:
                self.transport.close()
        elif (self.paused_since_s is not None and now_s - self.paused_since_s > limit.client_stall_s) or (
            not self.current.is_received and silent_s > limit.client_stall_s
        ):
            self.transport.abort()


class Front:
    """A listening door: all its connections, their limits, its start and its stop."""

    def __init__(self, router: Router, limit: FrontLimit, loop: asyncio.AbstractEventLoop) -> None:
        self.router = router
        self.limit = limit
        self.connections: set[FrontConnection] = set()
        self.is_stopping = False
        self.now_s = loop.time
        self._loop = loop
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._all_gone = asyncio.Event()

    async def start(self, sockets: "list[socket.socket]") -> None:
        """Accept connections on sockets that are already bound."""
        for sock in sockets:
            self._servers.append(await self._loop.create_server(lambda: FrontConnection(self), sock=sock, backlog=2048))
        self._sweep = self._loop.call_later(self.limit.sweep_s, self._sweep_all)

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let running answers finish for ``grace_s``, then end them with an error in their dialect."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            if connection.current is None:
                connection.transport.close()
        try:
            await asyncio.wait_for(self._wait_gone(), grace_s)
        except TimeoutError:
            self._shut_running()
            await asyncio.sleep(0)
        for connection in list(self.connections):
            connection.transport.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    async def _wait_gone(self) -> None:
        while self.connections:
            self._all_gone.clear()
            await self._all_gone.wait()

    def _shut_running(self) -> None:
        for connection in list(self.connections):
            if connection.current is not None and connection.current.handler is not None:
                connection.current.handler.on_shutdown()

    def connection_gone(self) -> None:
        """One connection fewer."""
        if not self.connections:
            self._all_gone.set()

    def _sweep_all(self) -> None:
        now_s = self.now_s()
        for connection in list(self.connections):
            connection.sweep(now_s)
        self._sweep = self._loop.call_later(self.limit.sweep_s, self._sweep_all)


def _origin_form(url: bytes) -> bytes:
    """``/path?query`` of an absolute-form target; ``*`` stays."""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return url
    path = parsed.path or b"/"
    return path + b"?" + parsed.query if parsed.query else path


def _too_large(limit_bytes: int) -> str:
    return f"The request's headers are larger than {limit_bytes} bytes."
