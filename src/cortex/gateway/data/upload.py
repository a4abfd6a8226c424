"""Takes a multipart upload through: kept only until its ``model`` field is seen, then streamed with back-pressure.

Small uploads stay held, so that they can be sent to another place when the first one fails; large ones cannot.
"""

from typing import TYPE_CHECKING

from cortex.contract.error import BuffersFull, CallerError, CortexError, ModelMissing
from cortex.dialects.interface import Translation
from cortex.dialects.multipart import FieldScanner, boundary_of
from cortex.gateway.data.body_room import BodyShare
from cortex.gateway.data.call import Call
from cortex.gateway.data.framing import too_large
from cortex.gateway.data.key_door import check_model
from cortex.gateway.data.limit_gate import pass_limits
from cortex.gateway.data.refusal import refuse

if TYPE_CHECKING:
    from cortex.fleet.effect import Target
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.data.route import InferenceRoute
    from cortex.gateway.data.upstream import Owner, UpstreamConnection

HELD_BYTES = 1 << 20
"""An upload up to this size is held until its answer; while one waits for a place, no more than this is read of it."""


class UploadBody:
    """An upload whose model is not known yet. Implements Handler."""

    def __init__(self, plane: "Plane", exchange: "Exchange", route: "InferenceRoute", content_type: bytes) -> None:
        """Raises: MalformedRequest for a Content-Type without a boundary."""
        self._plane = plane
        self._exchange = exchange
        self._route = route
        self._arrived_s = plane.now_s()
        self._scanner = FieldScanner(boundary_of(content_type), b"model")
        self._share: BodyShare | None = BodyShare(plane.bodies)

    def on_body(self, piece: bytes) -> None:
        self._exchange.received_bytes += len(piece)
        scanner, limit_bytes = self._scanner, self._plane.limit.max_body_bytes
        try:
            scanner.feed(piece)
            if scanner.size_bytes > limit_bytes:
                raise too_large(limit_bytes)
            if self._share is not None and not self._share.grow(len(piece)):
                raise BuffersFull
            if scanner.value == "" or (scanner.is_over and scanner.value is None):
                raise _no_model()
        except CortexError as error:
            self._refuse(error)
            return
        if scanner.value is not None:
            self._begin(scanner.value)

    def _begin(self, model: str) -> None:
        try:
            check_model(self._exchange.key, model, self._plane.leases.names_of)
        except CallerError as error:
            self._refuse(error)
            return
        share, self._share = self._share, None
        limit_bytes = self._plane.limit.max_body_bytes
        outgoing = StreamedUpload(self._exchange, self._scanner, model, limit_bytes=limit_bytes, share=share)
        pass_limits(
            self._plane,
            self._exchange,
            self._route,
            outgoing,
            go_on=lambda: self._start(outgoing),
            refuse=lambda error: self._refuse_begun(outgoing, error),
        )

    def _start(self, outgoing: "StreamedUpload") -> None:
        call = Call(self._plane, self._exchange, self._route, outgoing, self._arrived_s)
        self._exchange.handler = call
        call.start()

    def _refuse_begun(self, outgoing: "StreamedUpload", error: CortexError) -> None:
        outgoing.release()
        self._refuse(error)

    def on_end(self) -> None:
        self._refuse(_no_model())

    def on_gone(self) -> None:
        self._scanner.take()
        self._share = None

    def on_pause(self) -> None:
        """Nothing is being written."""

    def on_resume(self) -> None:
        """Nothing is being written."""

    def on_shutdown(self) -> None:
        self._exchange.abort()

    def _refuse(self, error: CortexError) -> None:
        self._scanner.take()
        self._share = None
        refuse(self._plane, self._exchange, self._route, error, self._arrived_s)


class StreamedUpload:
    """The rest of an upload on its way to an engine. Implements Outgoing."""

    is_stream = False
    hides_usage = False
    tokens = 0
    max_tokens: int | None = 0
    answers = untold = prompts = 1
    opening = b""
    size_bytes = 0
    translation: Translation | None = None

    def __init__(
        self,
        exchange: "Exchange",
        scanner: FieldScanner,
        model: str,
        *,
        limit_bytes: int,
        share: BodyShare | None = None,
    ) -> None:
        """``share``: of the room for bodies; what comes from here on is little, and not counted."""
        self._share = share
        self.model = model
        self._exchange = exchange
        self._span = scanner.span
        self._head = scanner.take()
        """What came before and with the model's name."""
        self._rest = bytearray()
        self._size_bytes = len(self._head)
        self._limit_bytes = limit_bytes
        self._is_held = True
        self._is_complete = False
        self._is_paused = False
        self._is_chunked = exchange.content_length is None
        self._connection: UpstreamConnection | None = None

    def can_send(self) -> bool:
        return self._is_held

    def is_sent(self) -> bool:
        return self._is_complete

    def send(self, connection: "UpstreamConnection", owner: "Owner", lines: bytes, target: "Target") -> None:
        """Send what is here; the rest follows as it comes."""
        self._resume()  # before the first write, which may find that the engine reads slowly
        begin, end = self._span
        engine_model = target.engine_model
        name = self._head[begin:end] if engine_model in ("", self.model) else engine_model.encode()
        head = b"".join((self._head[:begin], name, self._head[end:], self._rest))
        length = self._exchange.content_length
        if length is None:
            connection.send(owner, lines + b"transfer-encoding: chunked\r\n\r\n", _chunk(head))
        else:
            grown = len(name) - (end - begin)
            connection.send(owner, b"%bcontent-length: %d\r\n\r\n" % (lines, length + grown), head)
        self._connection = connection
        if self._is_complete:
            self._write_end(connection)
        self._let_go_of_large()

    def ask_for_less(self, answer_tokens: int) -> bool:
        """It is the caller's own."""
        return False

    def on_body(self, piece: bytes) -> None:
        """Raises: BodyTooLarge."""
        self._size_bytes += len(piece)
        if self._size_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)
        if self._is_held:
            self._rest += piece
        if self._connection is not None:
            self._connection.transport.write(_chunk(piece) if self._is_chunked else piece)
            self._let_go_of_large()
        elif self._size_bytes > HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self._exchange.connection.pause_reading()

    def on_end(self) -> None:
        self._is_complete = True
        if self._connection is not None:
            self._write_end(self._connection)

    def on_lost(self) -> None:
        """What still comes is kept for the next connection."""
        self._connection = None

    def fingerprint(self) -> None:
        """It is streamed: what of it an engine had is not known."""

    def said(self) -> bytes:
        """Files are nothing to be read."""
        return b""

    def settle(self) -> None:
        self._is_held = False
        self._share = None
        self._head = b""
        self._rest.clear()

    def release(self) -> None:
        self.settle()
        self._connection = None
        self._resume()

    def _let_go_of_large(self) -> None:
        """Give up the means to send again once that would take too much memory."""
        if self._is_held and self._size_bytes > HELD_BYTES:
            self.settle()

    def _write_end(self, connection: "UpstreamConnection") -> None:
        if self._is_chunked:
            connection.transport.write(b"0\r\n\r\n")

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._exchange.connection.resume_reading()


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _no_model() -> ModelMissing:
    return ModelMissing('The form has no field "model": add one; GET /v1/models lists the ids.', param="model")
