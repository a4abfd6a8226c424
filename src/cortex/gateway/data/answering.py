"""What the client gets of one request: an engine's answer as it is or translated, whole or as it comes, or an error.

One per request, over all its attempts; it writes to the exchange, and knows what of an answer is there already. Which
engine is asked, whether another one may be, and when to give up: ``Call``.
"""

from cortex.contract.error import CortexError, UpstreamBroken
from cortex.dialects.engine_error import engine_error, room_in
from cortex.dialects.error import openai_event
from cortex.dialects.interface import Tap, Translation
from cortex.dialects.model_splice import spliced
from cortex.dialects.openai_stream import StreamTap
from cortex.dialects.translating_tap import TranslatingTap, as_chunk
from cortex.dialects.usage import Usage, of_all, read_usage
from cortex.gateway.data import header
from cortex.gateway.data.answer import HeldAnswer, LateAnswer, UnstreamedAnswer, is_openai_error
from cortex.gateway.data.demand import BYTES_PER_TOKEN
from cortex.gateway.data.exchange import JSON_HEADERS, Exchange
from cortex.gateway.data.heartbeat import beat, begin_stream
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.record import Outcome
from cortex.gateway.data.refusal import reply_error
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.data.upstream import UpstreamConnection
from cortex.gateway.edge_error import status_of

_SSE = b"text/event-stream"
_JSON = b"application/json"

End = tuple[Outcome, CortexError | None]
"""How a request ended, and what was wrong."""


class Answering:
    """The answer to one request. ``status``: the engine's, or that of the error it ended with; 0 before."""

    __slots__ = (
        *("_exchange", "_is_json", "_outgoing", "_request_id", "_route", "_usage"),
        *("answer", "is_here", "status", "tap"),
    )

    def __init__(self, exchange: Exchange, route: InferenceRoute, outgoing: Outgoing, request_id: bytes) -> None:
        self._exchange = exchange
        self._route = route
        self._outgoing = outgoing
        self._request_id = request_id
        self._usage: Usage | None = None
        """What an answer cost that came whole."""
        self._is_json = self.is_here = False
        """The second: the engine has begun to answer this attempt."""
        self.tap: Tap | None = None
        self.answer: UnstreamedAnswer | LateAnswer | HeldAnswer | None = None
        self.status = 0

    def reset(self) -> None:
        """The attempt failed and left no trace: forget it."""
        self.tap = self.answer = None
        self.status = 0
        self.is_here = False

    @property
    def is_committed(self) -> bool:
        """Whether the client has, or is bound to get, something of this attempt."""
        if self.tap is not None:
            return self.tap.first_content_s is not None
        return self.is_here

    @property
    def is_whole(self) -> bool:
        """Whether the client has all of a stream but the end of the message."""
        return self.tap is not None and self.tap.is_done and self.status < 400

    @property
    def written_s(self) -> float:
        """When a translated stream last gave the client something; 0 when it has not yet."""
        return (self.tap.last_written_s or 0.0) if isinstance(self.tap, TranslatingTap) else 0.0

    def read_usage(self) -> Usage | None:
        """Return what the answer cost, as far as the engine told."""
        if self.tap is not None:
            usage = self.tap.usage
        else:
            usage = self.answer.read_usage() if self.answer is not None else self._usage
        outgoing = self._outgoing
        if outgoing.untold == 1:
            return usage
        return of_all(usage, outgoing.untold, outgoing.prompts, outgoing.size_bytes // BYTES_PER_TOKEN)

    # as it comes

    def take_head(self, connection: UpstreamConnection) -> None:
        """The engine's status and headers are here, and something of its body, or all."""
        self.is_here = True
        self.status = status = connection.status
        kind = header.content_type(connection.headers)
        is_stream, self._is_json = kind == _SSE, kind == _JSON
        translation = self._outgoing.translation
        if translation is not None:
            if is_stream and status == 200 and self._outgoing.is_stream:
                self.tap = TranslatingTap(translation.writer())
            else:
                self.answer = HeldAnswer(b"")
        elif self._exchange.is_begun and not (is_stream and status == 200):
            self.answer = LateAnswer(self._exchange, status)
        elif is_stream:
            self._begin_stream(connection)
        elif status >= 400 and self._route.counts_usage:
            self.answer = HeldAnswer(self._lines(connection))

    def write(self, body: bytes) -> None:
        """Pass on a part of a stream; one that is translated begins with its first word."""
        if not self._exchange.is_begun:
            begin_stream(self._exchange, self._route.dialect, self._request_id)
        self._exchange.write(body)

    def begin_unstreamed(self, connection: UpstreamConnection, engine_model: str) -> None:
        """An answer comes in more than one read."""
        renames = self._is_json and engine_model not in ("", self._outgoing.model)
        self.answer = UnstreamedAnswer(
            self._exchange,
            connection.status,
            self._lines(connection),
            header.content_length(connection.headers),
            rename_to=self._outgoing.model if renames else None,
            is_json=self._is_json,
        )

    def reply_whole(self, connection: UpstreamConnection, body: bytes) -> None:
        """The usual unstreamed answer: one read brought all of it."""
        if self._is_json:
            self._usage = read_usage(body)
            body = spliced(body, self._outgoing.model)
        self._exchange.reply(connection.status, self._lines(connection), body)

    def beat(self, words: str) -> None:
        """Send a sign of life."""
        beat(self._exchange, self._route.dialect, self._outgoing.model, self._request_id, words)

    # its end

    def finish_stream(self, tap: Tap, body: bytes) -> End | None:
        """The engine's stream is over, with ``body`` as its last part; None when it broke off."""
        is_done = (tap.is_done or not self._route.ends_with_done) and self.status < 400
        if is_done or tap.carries_error:
            body += tap.close()
        if tap.carries_error:  # perhaps with a [DONE] after it, as mistral.rs does
            return self._end_with_error(tap, body)
        if is_done:
            if not self._exchange.is_begun:
                begin_stream(self._exchange, self._route.dialect, self._request_id)
            self._exchange.finish(body)
            return "ok", None
        if body:
            self.write(body)
        return None

    def room_left(self) -> int | None:
        """Return ``room_in`` of an engine's refusal of a translated request."""
        if self.status < 400 or self._outgoing.translation is None or not isinstance(self.answer, HeldAnswer):
            return None
        return room_in(engine_error(self.status, self.answer.whole()))

    def finish_unstreamed(self) -> End:
        """The engine's answer is whole."""
        if isinstance(self.answer, HeldAnswer):
            return self._finish_held(self.answer)
        return "engine_error" if self.status >= 400 or isinstance(self.answer, LateAnswer) else "ok", None

    def fail(self, error: CortexError) -> None:
        """End the exchange with an error in the client's dialect, or by a break where no dialect has room for one."""
        exchange, dialect = self._exchange, self._route.dialect
        status = status_of(error, dialect.name)
        if not exchange.is_begun or not self.status:
            self.status = status
        if not exchange.is_begun:
            reply_error(exchange, dialect, error, self._request_id)
        elif isinstance(self.answer, UnstreamedAnswer):
            exchange.abort()
        else:
            exchange.finish(self._last_event(error, status))

    def _last_event(self, error: CortexError, status: int) -> bytes:
        """What ends a stream that has begun, be it only with signs of life."""
        translation = self._outgoing.translation
        if self.tap is not None:
            return self.tap.fail(error, status)
        if translation is not None:
            return translation.writer().fail(error, status)
        return openai_event(error)

    def _lines(self, connection: UpstreamConnection) -> bytes:
        """The headers of an answer that is passed on."""
        return b"%bx-request-id: %b\r\n" % (header.to_client(connection.headers), self._request_id)

    def _begin_stream(self, connection: UpstreamConnection) -> None:
        hides, is_chat = self._outgoing.hides_usage, self._route.counts_usage
        self.tap = StreamTap(self._outgoing.model, strip_usage=hides, is_chat=is_chat)
        if not self._exchange.is_begun:
            self._exchange.begin(connection.status, self._lines(connection), None)

    def _end_with_error(self, tap: Tap, body: bytes) -> End:
        """The engine's last words were an error; while nothing was said before it, it has a status of its own."""
        error = tap.failure or UpstreamBroken("The engine ended its stream with an error.")
        if self._exchange.is_begun:
            self._exchange.finish(body)
        else:
            self.fail(error)
        return "failed", error

    def _stream_whole(self, translation: Translation, body: bytes) -> End:
        """Give a stream to a client that wants one, though the engine knew only how to answer whole."""
        tap = self.tap = TranslatingTap(translation.writer())
        said = tap.feed(b"data: %b\n\ndata: [DONE]\n\n" % as_chunk(body), 0.0)
        return self.finish_stream(tap, said) or ("failed", UpstreamBroken())

    def _finish_held(self, held: HeldAnswer) -> End:
        """Answer with what becomes of the engine's whole answer: a translation, or an error in the caller's dialect."""
        body, status, translation = held.whole(), self.status, self._outgoing.translation
        try:
            if translation is None and is_openai_error(body):
                self._exchange.reply(status, held.lines, body)
                return "engine_error", None
            if status >= 400:
                raise engine_error(status, body)
            if translation is None:
                raise UpstreamBroken("The engine answered a streamed request without a stream.")
            if self._outgoing.is_stream:
                return self._stream_whole(translation, body)
            reply = translation.reply(body)
        except CortexError as error:
            # Its frames hold the request, and some of them it: only the collector, which comes seldom, would see that.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            self.fail(error)
            return "engine_error" if status >= 400 else "failed", error
        self._exchange.reply(200, JSON_HEADERS + header.own_lines(self._route.dialect, self._request_id), reply)
        return "ok", None
