"""One HTTP/1.1 connection of a client, parsed by httptools (llhttp); each request on it becomes an ``Exchange``.

Keeps to the protocol whatever the client does: byte by byte, pipelined, half-closed, oversized, garbage. At most one
exchange is being answered, later pipelined ones wait in order:

    reading --refuse, early answer, last answer--> deaf: takes no request any more, discards what comes
       |                                             |
       +-- client gone -> handler.on_gone            +-- answers what is under way, lingers, closes

A client that closes its sending side counts as gone (as with nginx): a full close looks the same, and an engine must
not generate for nobody. Handlers are called from within the parser; a defect in one is logged and answered with a 500.
"""

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

import httptools

from cortex.contract.error import CortexError, HeadersTooLarge, MalformedRequest
from cortex.dialects.error import openai_body
from cortex.gateway.data.door_room import peer_of
from cortex.gateway.data.exchange import JSON_HEADERS, Exchange
from cortex.gateway.edge_error import status_of

if TYPE_CHECKING:
    from cortex.gateway.data.front import Front

MAX_PIPELINED = 128
QUEUED_BYTES = 65536
"""Requests waiting behind the one being answered; no more is read while they take more than this."""

LINGER_S = 2.0
LINGER_TOTAL_S = 30.0
"""After an answer that came before its request was whole: how long to wait for the rest of it, silent and in all."""

WRITTEN_BYTES = 65536
"""What may wait in a TLS transport before its handler is told to pause; as much as in one without TLS."""
GOODBYE_S = 5.0
"""How long a client may take to answer the end of TLS."""

NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
    b"This gateway has as many connections as it may have: use fewer, or have the operator raise max_connections or "
    b"max_connections_per_address in [gateway].\n"
)

_UPGRADE_HEADERS = frozenset((b"connection", b"upgrade", b"http2-settings"))

log = logging.getLogger(__name__)


class FrontConnection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_awaited",
        "_body_bytes",
        "_closed_s",
        "_front",
        "_head_bytes",
        "_headers",
        "_incoming",
        "_is_deaf",
        "_is_held",
        "_is_http10",
        "_is_in_head",
        "_is_pumping",
        "_is_upgrade",
        "_last_read_s",
        "_max_header_bytes",
        "_now_s",
        "_parser",
        "_paused_since_s",
        "_queue",
        "_queued_bytes",
        "_read_bytes",
        "_refusal",
        "_since_s",
        "_url",
        "_window_s",
        "current",
        "is_counted",
        "is_made",
        "peer",
        "transport",
    )

    def __init__(self, front: "Front", peer: str | None = None) -> None:
        """``peer``: the client's address, where it was let in before and has its place in the front's room."""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.is_counted = peer is not None
        """It has taken a place in the front's room."""
        self.is_made = False
        self.peer = peer or ""
        """The client's address, empty for a local socket."""
        self.current: Exchange | None = None
        self._front = front
        self._now_s = front.now_s
        self._max_header_bytes = front.limit.max_header_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._queued_bytes = 0
        self._incoming: Exchange | None = None
        self._refusal: CortexError | None = None
        self._is_deaf = self._is_held = self._is_pumping = False
        self._is_in_head = self._is_upgrade = False
        self._is_http10: bool | None = None
        self._head_bytes = self._read_bytes = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._paused_since_s: float | None = None
        self._awaited: Exchange | None = None
        """Whose body is measured since ``_window_s``: so much of it has come."""
        self._body_bytes, self._window_s = 0, 0.0
        self._last_read_s = self._since_s = self._closed_s = front.now_s()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.is_made = True
        front, peer = self._front, self.peer if self.is_counted else peer_of(transport)
        if peer is None:
            self._is_deaf = True
            self.transport.abort()
            return
        self.peer = peer
        if front.is_tls:
            self.transport.set_write_buffer_limits(high=WRITTEN_BYTES)
        elif not self.is_counted:
            self.is_counted = front.room.enter(self.peer)
            if not self.is_counted:
                self._is_deaf = True
                self.transport.write(NO_ROOM)
                self.transport.close()
                return
        front.connections.add(self)
        if front.is_stopping:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.forget(self)
        if self.is_counted:
            self._front.room.leave(self.peer)
        self._incoming = self._refusal = self._awaited = None
        self._queue.clear()
        self._parser = None  # type: ignore[assignment]  # it holds this object's methods: no work for the collector
        self._drop_current()

    def data_received(self, data: bytes) -> None:
        now_s = self._last_read_s = self._now_s()
        if self._is_deaf:
            return
        if not self._head_bytes:
            self._since_s = now_s
        self._read_bytes = size = len(data)
        self._head_bytes += size
        rest = self._parse(data)
        while rest:
            rest = self._parse(rest)
        if self._head_bytes > self._max_header_bytes:
            self._refuse(self._too_large())

    def eof_received(self) -> bool:
        if self.current is not None:
            self.transport.abort()
        return False

    def pause_writing(self) -> None:
        self._paused_since_s = self._now_s()
        if self.current is not None and self.current.handler is not None:
            self.current.handler.on_pause()

    def resume_writing(self) -> None:
        self._paused_since_s = None
        if self.current is None:
            self._go_on()
        elif self.current.handler is not None:
            self.current.handler.on_resume()

    # parsing

    def _parse(self, data: bytes) -> bytes:
        """Parse what was read; return what is to be parsed yet, which is nothing but after an offered upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            return self._without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            self._fail(exc.__context__ or exc)
        except httptools.HttpParserError as exc:
            self._refuse(MalformedRequest(f"This is not a valid HTTP/1.1 request: {exc}."))
        return b""

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The same request without its offer of another protocol, which may be ignored (RFC 9110 §7.8).

        Java's HttpClient offers h2c with every first request; llhttp stops parsing there.
        """
        if self._is_deaf:
            return b""
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        self._is_upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        if method == b"CONNECT":
            self._refuse(MalformedRequest("CONNECT is not supported: this is not a forward proxy."))
            return b""
        kept = [b"%b: %b\r\n" % pair for pair in self._headers if pair[0] not in _UPGRADE_HEADERS]
        return b"".join((method, b" ", self._url, b" HTTP/", version, b"\r\n", *kept, b"\r\n", rest))

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else it is a trailer
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._is_deaf:
            return
        if self._parser.should_upgrade():
            self._is_upgrade = True
            return
        limit = self._max_header_bytes
        if (self._head_bytes > limit or self._read_bytes > limit) and len(self._url) + _size(self._headers) > limit:
            self._refuse(self._too_large())
            return
        self._accept(self._new_exchange())

    def _new_exchange(self) -> Exchange:
        url = self._url
        if url[:1] != b"/":
            url = _origin_form(url)
        path, _, query = url.partition(b"?")
        exchange = Exchange(self, self._parser.get_method(), path, query, self._headers)
        keeps_alive = self._parser.should_keep_alive()
        if not keeps_alive or self._is_http10 is None:  # asking for the version is dear; a client does not change it
            self._is_http10 = self._parser.get_http_version() != "1.1"
        exchange.is_http10 = self._is_http10
        exchange.is_keep_alive = keeps_alive and not self._is_http10 and not self._front.is_leaving
        return exchange

    def _accept(self, exchange: Exchange) -> None:
        if self.current is None and self._paused_since_s is None:
            self._incoming = exchange
            self._start(exchange)
        elif len(self._queue) < MAX_PIPELINED:
            self._incoming = exchange
            self._queue.append(exchange)
            self._queued_bytes += _weight(exchange)
            self._read_as_allowed()
        else:
            self._refuse(MalformedRequest(f"More than {MAX_PIPELINED} pipelined requests: wait for answers."))

    def _start(self, exchange: Exchange) -> None:
        self.current = exchange
        handler = self._front.router(exchange)
        if not exchange.is_ended:
            exchange.handler = handler

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        self._body_bytes += len(body)
        exchange = self._incoming
        if exchange is None:  # it was answered early
            return
        if exchange.handler is not None:
            exchange.handler.on_body(body)
        else:
            exchange.pending.append(body)
            self._queued_bytes += len(body)
            self._read_as_allowed()

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._head_bytes = 0
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return
        exchange.is_received = True
        if exchange.handler is not None:
            exchange.handler.on_end()

    # answering

    def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is written; go on with the next request, or close."""
        exchange.handler = None
        self.current = None
        self._since_s = self._now_s()
        if not exchange.is_keep_alive or self._front.is_stopping:
            self._close_after(exchange)
            return
        if self._is_held:
            self.resume_reading()
        if self._queue or self._refusal is not None:
            self._go_on()

    def _go_on(self) -> None:
        """Start what waits, without recursion however many are answered at once; last of all the refusal."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._queue and self.current is None and self._paused_since_s is None:
                self._start_queued(self._queue.popleft())
        except Exception as exc:  # whoever has just ended the answer before is not to blame
            self._fail(exc)
        self._is_pumping = False
        self._read_as_allowed()
        if self._refusal is not None and self.current is None and not self._queue:
            error, self._refusal = self._refusal, None
            Exchange(self, b"GET", b"", b"", []).reply(status_of(error), JSON_HEADERS, openai_body(error))

    def _start_queued(self, exchange: Exchange) -> None:
        self._queued_bytes -= _weight(exchange)
        pending, exchange.pending = exchange.pending, []
        self._start(exchange)
        for piece in pending:
            if exchange.handler is not None:
                exchange.handler.on_body(piece)
        if exchange.is_received and exchange.handler is not None:
            exchange.handler.on_end()

    def _refuse(self, error: CortexError) -> None:
        """Answer something that is not a request, once what came before it has been answered; then close."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._refusal = error
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            if incoming is self.current:
                self._drop_current()
            else:
                self._queue.remove(incoming)
        self._go_on()

    def _fail(self, defect: BaseException) -> None:
        """A handler raised: its exchange is over, and so is the connection."""
        log.error("a request's handler failed", exc_info=defect)
        self._queue.clear()
        if self.current is None:  # it had answered already
            self._close()
            return
        self._refusal = CortexError()
        self._drop_current()
        self._go_on()

    def _drop_current(self) -> None:
        """End the exchange under way as if its client had gone; nothing can follow an answer that has begun."""
        exchange, self.current = self.current, None
        if exchange is None:
            return
        exchange.is_ended = True
        handler, exchange.handler = exchange.handler, None
        if exchange.is_begun:
            self._refusal = None
            self.transport.abort()
        if handler is not None:
            handler.on_gone()

    def _close_after(self, exchange: Exchange) -> None:
        is_all_read = exchange.is_received and not self._queue and not self._head_bytes
        self._is_deaf = True
        self._incoming = self._refusal = None
        self._queue.clear()
        self._queued_bytes = 0
        if is_all_read:
            self._close()
        elif not self.transport.is_closing():
            self._linger()

    def _linger(self) -> None:
        """Closing now, with something of the client's unread, would reset the connection and lose the answer."""
        self._last_read_s = self._since_s
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # reset by the client just now; asyncio tells of it here, uvloop later
                self.transport.write_eof()

    # for the handler

    def pause_reading(self) -> None:
        """Take no more of the request's body for now."""
        self._is_held = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the request's body again."""
        self._is_held = False
        self._read_as_allowed()

    def abort(self) -> None:
        """Drop the connection without another byte."""
        self.transport.abort()

    def _close(self) -> None:
        """Close once what was written has left. A TLS transport that is closed twice cannot be aborted (3.11)."""
        if not self.transport.is_closing():
            self._closed_s = self._now_s()
            self.transport.close()

    def _read_as_allowed(self) -> None:
        if self._is_held or self._queued_bytes > QUEUED_BYTES:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # for the front

    def leave_in_turn(self) -> None:
        """The front is being left: say so with the next answer that has not begun."""
        last = self._queue[-1] if self._queue else self.current
        if last is not None and not last.is_begun:
            last.is_keep_alive = False

    def leave(self) -> None:
        """The front is stopping: close, or do so when the answer under way is written."""
        if self.current is None:
            self._close()
        else:
            self.current.is_keep_alive = False

    def shut(self) -> None:
        """The front waits no longer: end the answer under way."""
        if self.current is not None and self.current.handler is not None:
            self.current.handler.on_shutdown()

    def sweep(self, now_s: float) -> None:
        """Close what is idle, stalled or lingering too long."""
        limit = self._front.limit
        waited_s, silent_s = now_s - self._since_s, now_s - self._last_read_s
        if self.transport.is_closing():
            is_over = waited_s > limit.client_stall_s or self._is_goodbye_unanswered(now_s)
        elif self._paused_since_s is not None:
            is_over = now_s - self._paused_since_s > limit.client_stall_s
        elif self.current is not None:
            is_awaited = not self.current.is_received and self.transport.is_reading()
            is_slow = self._is_slow(self.current if is_awaited else None, now_s)
            is_over = is_awaited and (is_slow or silent_s > limit.client_stall_s)
        elif self._is_deaf:
            is_over = silent_s > LINGER_S or waited_s > LINGER_TOTAL_S
        else:
            if waited_s > (limit.head_timeout_s if self._head_bytes else self._front.idle_s):
                self._close()
            return
        if is_over:
            self.transport.abort()

    def _is_slow(self, awaited: Exchange | None, now_s: float) -> bool:
        """Whether the body that is waited for comes more slowly than it may. What we have held up begins anew."""
        if awaited is not self._awaited:
            self._awaited, self._window_s, self._body_bytes = awaited, now_s, 0
        limit = self._front.limit
        late_s = now_s - self._window_s - limit.client_stall_s
        return awaited is not None and late_s > 0 and late_s * limit.min_body_bytes_per_s > self._body_bytes

    def _is_goodbye_unanswered(self, now_s: float) -> bool:
        """Whether everything has left and only TLS waits: many clients look at an idle connection when they use it."""
        is_left = self._front.is_tls and self._paused_since_s is None and not self.transport.get_write_buffer_size()
        return is_left and now_s - self._closed_s > GOODBYE_S

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(
            f"The request's headers are larger than {self._max_header_bytes} bytes. "
            "Send fewer or shorter ones, or have the operator raise max_header_kb in [gateway]."
        )


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum([len(name) + len(value) + 4 for name, value in headers])


def _weight(exchange: Exchange) -> int:
    """Bytes that a queued exchange holds."""
    return len(exchange.path) + _size(exchange.headers) + sum(map(len, exchange.pending))


def _origin_form(url: bytes) -> bytes:
    """``/path?query`` of an absolute-form target; ``*`` stays."""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return url
    path = parsed.path or b"/"
    return path + b"?" + parsed.query if parsed.query else path
