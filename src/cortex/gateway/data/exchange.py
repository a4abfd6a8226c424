"""One request of a client and the answer to it, on an HTTP/1.1 connection that may carry many.

Says how the answer is framed (length, chunks, or until the connection closes for HTTP/1.0) and whether the connection
can be used again. Does not parse (``front_connection``) and does not decide what is answered (the handlers).
"""

import http
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cortex.contract.key import Key
    from cortex.fleet.quota_holding import Admission
    from cortex.gateway.data.front_connection import FrontConnection

STATUS_LINE = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, http.HTTPStatus(status).phrase.encode()) for status in http.HTTPStatus
}
JSON_HEADERS = b"content-type: application/json\r\n"
NO_BODY_STATUS = frozenset((204, 304))


def status_line(status: int) -> bytes:
    """First line of an answer, also for a status that has no registered phrase."""
    return STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status  # type: ignore[call-overload]


class Handler(Protocol):
    """What takes a request: told of its body as it comes and of the client as it goes.

    An answer that begins before ``on_end`` ends the connection, because the rest of the request may still follow.
    """

    def on_body(self, piece: bytes) -> None:
        """A part of the request's body."""

    def on_end(self) -> None:
        """The request is complete."""

    def on_gone(self) -> None:
        """The client has left; nothing can be sent any more. Called at most once, never after the answer's end."""

    def on_pause(self) -> None:
        """The client reads slower than it is written to: stop producing."""

    def on_resume(self) -> None:
        """The client has caught up."""

    def on_shutdown(self) -> None:
        """The gateway stops and waits no longer: end the answer now, with an error in its dialect."""


class Exchange:
    """One request and its answer. Header names are lower case; ``path`` is raw, without the query."""

    __slots__ = (
        "_by_name",
        "_head",
        "_is_bodyless",
        "_is_chunked",
        "admission",
        "client",
        "connection",
        "handler",
        "headers",
        "is_begun",
        "is_ended",
        "is_http10",
        "is_keep_alive",
        "is_received",
        "key",
        "method",
        "more_lines",
        "path",
        "pending",
        "query",
        "received_bytes",
        "received_s",
        "repeats_header",
        "sent_bytes",
    )

    def __init__(
        self,
        connection: "FrontConnection",
        method: bytes,
        path: bytes,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self.connection = connection
        self.client = connection.peer
        """The address that the request comes from; behind a proxy of ours the one that the proxy names."""
        self.key: Key | None = None
        """The key that it was let in by; None where none is asked for."""
        self.admission: Admission | None = None
        """What it has taken of the key's limits; to be settled by whoever ends it."""
        self.more_lines = b""
        """Headers of every answer to it."""
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.is_http10 = False
        self.is_keep_alive = True
        self.is_received = False
        self.received_s = 0.0
        """When the body was whole; 0 where nobody noted it."""
        self.received_bytes = self.sent_bytes = 0
        """Of the bodies, as far as a handler counts the request's."""
        self.is_begun = False
        self.is_ended = False
        self.handler: Handler | None = None
        self.pending: list[bytes] = []
        """Body that came while an earlier, pipelined request was still being answered."""
        self.repeats_header = False
        """Some header came more than once; known once any was looked for."""
        self._by_name: dict[bytes, bytes] | None = None
        self._is_bodyless = method == b"HEAD"
        self._is_chunked = False
        self._head = b""

    @property
    def priority(self) -> int:
        """The key's; 0 without one."""
        return 0 if self.key is None else self.key.queue_priority

    def lacks(self, names: frozenset[bytes]) -> bool:
        """Tell whether none of several headers is there: one question for what is seldom sent."""
        by_name = self._by_name
        if by_name is None:
            by_name = self._read_names()
        return names.isdisjoint(by_name)

    def header(self, name: bytes) -> bytes | None:
        """First value of a header, None when it is absent."""
        by_name = self._by_name
        if by_name is None:
            by_name = self._read_names()
        return by_name.get(name)

    def first_header(self, names: tuple[bytes, ...]) -> bytes | None:
        """First value of the first of several headers that is there and not empty."""
        by_name = self._by_name
        if by_name is None:
            by_name = self._read_names()
        for name in names:
            value = by_name.get(name)
            if value:
                return value
        return None

    def _read_names(self) -> dict[bytes, bytes]:
        by_name = self._by_name = dict(reversed(self.headers))
        self.repeats_header = len(by_name) < len(self.headers)
        return by_name

    @property
    def content_length(self) -> int | None:
        """Length of the request's body as declared; None without a body or when it comes in chunks."""
        value = self.header(b"content-length")
        return None if value is None else int(value)

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer. ``headers`` are formatted lines; length and connection are added here."""
        self.begin(status, headers, len(body))
        self.finish(body)

    def begin(self, status: int, headers: bytes, length: int | None) -> None:
        """Start an answer of ``length`` bytes, or of unknown length. Sent together with the first part of the body."""
        self.is_begun = True
        if not self.is_received:
            self.is_keep_alive = False  # what is left of the request would be read as the next one
        if status in NO_BODY_STATUS:
            self._is_bodyless = True
            framing = b""
        else:
            framing = self._framing(length)
        closing = b"" if self.is_keep_alive else b"connection: close\r\n"
        self._head = b"".join((status_line(status), headers, self.more_lines, framing, closing, b"\r\n"))

    def _framing(self, length: int | None) -> bytes:
        if length is not None:
            return b"content-length: %d\r\n" % length
        if self.is_http10:
            self.is_keep_alive = False
            return b""
        self._is_chunked = True
        return b"transfer-encoding: chunked\r\n"

    def write(self, piece: bytes) -> None:
        """Send a part of the body at once; an empty part only flushes the head."""
        if self.is_ended:
            return
        if self._is_bodyless:
            piece = b""
        self.sent_bytes += len(piece)
        if self._is_chunked and piece:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._head:
            piece = self._head + piece
            self._head = b""
        if piece:
            self.connection.transport.write(piece)

    def finish(self, piece: bytes = b"") -> None:
        """Send the last part of the body and end the answer; the connection goes on to the next request or closes."""
        if self.is_ended:
            return
        head, self._head = self._head, b""
        if self._is_bodyless:
            piece = b""
        self.sent_bytes += len(piece)
        if self.admission is not None:
            self.admission.leave()  # before the last byte: the next request may be here already
        if self._is_chunked and not self._is_bodyless:
            piece = b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece) if piece else b"0\r\n\r\n"
        if head or piece:
            self.connection.transport.write(head + piece)
        self.is_ended = True
        self.connection.exchange_ended(self)

    def abort(self) -> None:
        """Break the answer off so that the client cannot take it for whole."""
        self.is_ended = True
        self.is_keep_alive = False
        self.handler = None
        self.connection.abort()

    def accept_body(self) -> None:
        """Tell a client that waits for it (``Expect: 100-continue``) to send its body."""
        expect = self.header(b"expect")
        if expect is None or self.is_received or self.is_begun or self.is_http10:
            return
        if expect.lower() == b"100-continue":
            self.connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
