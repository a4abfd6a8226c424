"""One inference request, from the end of its head to the last byte of its answer.

    waiting --granted--> connecting --connected--> sent --first content--> committed --> over
       ^                      |                     |
       +------- another place, while nothing of an answer was committed -----+

No task: the call is told of everything that happens (grant, bytes, loss, client gone, the clock) and reacts at once, so
a chunk goes from the engine's socket to the client's in one step. Every way out goes through ``_over``, once, which
gives the place back and hands over the record.

What it does not do: choose a replica (``Leases``), say whether it may have another one (``places``), read HTTP
(``front``, ``upstream``), know a dialect beyond the tap.
"""

import logging

from cortex.contract.error import CallerError, CortexError, ShuttingDown, UpstreamBroken, UpstreamError, UpstreamTimeout
from cortex.dialects.error import openai_event
from cortex.dialects.model_splice import spliced
from cortex.dialects.openai_stream import StreamTap
from cortex.dialects.usage import Usage, read_usage
from cortex.fleet.effect import Grant
from cortex.gateway.data import header
from cortex.gateway.data.answer import LateAnswer, UnstreamedAnswer
from cortex.gateway.data.demand import conversation_of
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.heartbeat import beat
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.places import Places
from cortex.gateway.data.plane import Plane, overdue
from cortex.gateway.data.record import Outcome, RequestRecord, tokens_per_s
from cortex.gateway.data.refusal import reply_error
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.data.upstream import Origin, UpstreamConnection
from cortex.gateway.edge_error import status_of
from cortex.gateway.ports import Suspicion

log = logging.getLogger(__name__)

_SSE = b"text/event-stream"
_JSON = b"application/json"
_NOT_HERE = (401, 404, 503)
"""What a fence answers to a stale URL, and llama-server while it loads (or wakes up)."""
_WAITING, _CONNECTING, _SENT, _OVER = range(4)


class Call:
    """One inference request. Implements Handler (client), Owner (engine), Waiter (leases), Sweepable (clock)."""

    __slots__ = (
        "_answer",
        "_arrived_s",
        "_connection",
        "_exchange",
        "_has_answered",
        "_is_cut",
        "_is_holding_client",
        "_is_paused",
        "_last_heard_s",
        "_origin",
        "_outgoing",
        "_places",
        "_plane",
        "_request_id",
        "_route",
        "_sent_s",
        "_state",
        "_status",
        "_tap",
        "_usage",
    )

    def __init__(
        self, plane: Plane, exchange: Exchange, route: InferenceRoute, outgoing: Outgoing, arrived_s: float
    ) -> None:
        self._plane = plane
        self._exchange = exchange
        self._route = route
        self._outgoing = outgoing
        self._arrived_s = arrived_s
        self._last_heard_s = arrived_s
        """When the waiting client was last written to, an unstreamed answer last grew, or a slow client caught up."""
        self._request_id = header.valid_request_id(exchange.header(b"x-request-id")) or plane.new_request_id()
        self._state = _WAITING
        self._places = Places(
            plane, outgoing, plane.callers.name_of(exchange), conversation_of(exchange, outgoing.opening)
        )
        self._origin: Origin | None = None
        self._connection: UpstreamConnection | None = None
        self._tap: StreamTap | None = None
        self._answer: UnstreamedAnswer | LateAnswer | None = None
        self._has_answered = False
        self._is_cut = False
        """An engine was left in the middle of the request, and may be at it still."""
        self._is_paused = False
        self._is_holding_client = False
        self._sent_s = 0.0
        self._status = 0
        self._usage: Usage | None = None
        """What an answer cost that came whole."""

    def start(self) -> None:
        """Ask for a place."""
        self._plane.running.add(self)
        ban = self._places.ban() if self._outgoing.size_bytes in self._plane.poison.lengths else None
        if ban is None:
            self._acquire()
        else:
            self._fail(ban, "refused")

    def _acquire(self) -> None:
        self._state = _WAITING
        self._places.ask(self, self._patience_s())

    def _patience_s(self) -> float | None:
        """How long it can wait. A stream is kept open by heartbeats; what hears nothing gives up some day."""
        if self._outgoing.is_stream:
            return None
        limit_s = self._plane.limit.unstreamed_wait_s
        if self._sent_s or not self._places.count:
            return limit_s
        return max(limit_s - (self._plane.now_s() - self._arrived_s), 0.0)  # so far it has done nothing but wait

    # Waiter

    def granted(self, grant: Grant) -> None:
        target = self._places.take(grant)
        self._state = _CONNECTING
        self._origin = origin = self._plane.upstream.origin(target)
        connection = origin.take(self._plane.now_s())
        if connection is None:
            self._plane.upstream.connect(origin, self)
        else:
            self.on_connected(connection)

    def refused(self, error: CortexError, model: str, node: str) -> None:
        if self._state != _OVER:
            self._fail(*self._places.take_refusal(error, model, node))

    # Owner: the engine's side

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self._state != _CONNECTING:
            connection.drop()
            return
        places, origin = self._places, self._origin
        assert origin is not None
        self._connection = connection
        self._state = _SENT
        self._has_answered = False
        if self._is_paused:
            connection.transport.pause_reading()
        self._sent_s = self._plane.now_s()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %s to %s on %s", self._request_id.decode(), self._route.operation, places.model, places.node)
        lines = b"%b%bx-request-id: %b\r\n" % (
            origin.head(self._route.path, self._exchange.query),
            header.to_engine(self._exchange.headers),
            self._request_id,
        )
        places.note_sent(self._sent_s)
        self._outgoing.send(connection, self, lines, origin.target.engine_model)

    def on_connect_failed(self, error: UpstreamError) -> None:
        if self._state == _CONNECTING:
            self._move_on("unreachable", error)

    def on_answer(self, connection: UpstreamConnection, body: bytes, is_complete: bool) -> None:
        tap = self._tap
        try:
            if tap is None or is_complete or not body:
                self._take_answer(connection, body, is_complete)
            elif body := tap.feed(body, self._plane.now_s()):  # a stream under way: the hottest line of all
                self._exchange.write(body)
        except Exception:  # a defect of ours must not leave the client waiting
            log.exception("relaying %s", self._request_id.decode("ascii"))
            connection.drop()
            if self._state != _OVER:
                self._fail(CortexError(), "failed")

    def _take_answer(self, connection: UpstreamConnection, body: bytes, is_complete: bool) -> None:
        if not self._has_answered:
            if not (body or is_complete):
                return  # a head alone binds nobody: the engine may still die over the prompt
            if not self._take_head(connection):
                return
            if self._answer is None and self._tap is None:
                if is_complete:
                    return self._answer_whole(connection, body)
                self._begin_unstreamed(connection)
        tap = self._tap
        if tap is not None:
            if body:
                body = tap.feed(body, self._plane.now_s())
            if is_complete:
                self._finish_stream(connection, tap, body)
            elif body:
                self._exchange.write(body)
        else:
            assert self._answer is not None
            self._last_heard_s = self._plane.now_s()
            self._answer.feed(body, is_complete)
            if is_complete:
                self._finish_unstreamed(connection)

    def on_lost(self, error: UpstreamError, is_untouched: bool) -> None:
        self._connection = None
        self._outgoing.on_lost()
        self.on_upstream_resume()  # nobody is left who reads too slowly
        tap = self._tap
        if tap is not None and tap.is_done:
            self._finish_stream(None, tap, b"")
        elif is_untouched and self._outgoing.can_send():
            # The engine closed an idle connection as we wrote: it has seen nothing of the request.
            self._state = _CONNECTING
            assert self._origin is not None
            self._plane.upstream.connect(self._origin, self)
        else:
            if not self._is_committed():
                self._places.note_death()
            self._move_on("died", error)

    def on_upstream_pause(self) -> None:
        # A client whose request is complete is read on: how else would we know that it left?
        if not self._exchange.is_received:
            self._is_holding_client = True
            self._exchange.connection.pause_reading()

    def on_upstream_resume(self) -> None:
        if self._is_holding_client:
            self._is_holding_client = False
            self._exchange.connection.resume_reading()

    # the answer

    def _take_head(self, connection: UpstreamConnection) -> bool:
        """The engine's status is here. False when the call went elsewhere instead."""
        status = connection.status
        assert self._origin is not None
        if (
            status in _NOT_HERE
            and self._origin.is_fenced
            and not self._places.is_refreshed
            and self._outgoing.can_send()
        ):
            self._places.is_refreshed = True  # another generation may live there by now
            self._drop_connection()
            self._move_on("gone", UpstreamBroken("The instance is gone."))
            return False
        self._has_answered = True
        self._status = status
        is_stream = header.content_type(connection.headers) == _SSE
        if self._exchange.is_begun and not (is_stream and status == 200):
            self._answer = LateAnswer(self._exchange, status)
        elif is_stream:
            self._begin_stream(connection)
        return True

    def _lines(self, connection: UpstreamConnection) -> bytes:
        """The headers of the answer."""
        return b"%bx-request-id: %b\r\n" % (header.to_client(connection.headers), self._request_id)

    def _begin_stream(self, connection: UpstreamConnection) -> None:
        hides, is_chat = self._outgoing.hides_usage, self._route.counts_usage
        self._tap = StreamTap(self._outgoing.model, strip_usage=hides, is_chat=is_chat)
        if not self._exchange.is_begun:
            self._exchange.begin(connection.status, self._lines(connection), None)

    def _begin_unstreamed(self, connection: UpstreamConnection) -> None:
        assert self._origin is not None
        is_json = header.content_type(connection.headers) == _JSON
        renames = is_json and self._origin.target.engine_model not in ("", self._outgoing.model)
        self._answer = UnstreamedAnswer(
            self._exchange,
            connection.status,
            self._lines(connection),
            header.content_length(connection.headers),
            rename_to=self._outgoing.model if renames else None,
            is_json=is_json,
        )

    def _answer_whole(self, connection: UpstreamConnection, body: bytes) -> None:
        """The usual unstreamed answer: one read brought all of it."""
        if header.content_type(connection.headers) == _JSON:
            self._usage = read_usage(body)
            body = spliced(body, self._outgoing.model)
        self._exchange.reply(connection.status, self._lines(connection), body)
        self._finish_unstreamed(connection)

    def _finish_stream(self, connection: UpstreamConnection | None, tap: StreamTap, body: bytes) -> None:
        if connection is not None:
            connection.finish(self._outgoing.is_sent())
        self._connection = None
        if tap.carries_error:  # perhaps with a [DONE] after it, as mistral.rs does
            self._exchange.is_keep_alive = False
            self._exchange.finish(body + tap.close())
            self._over("failed", UpstreamBroken("The engine ended its stream with an error."))
        elif (tap.is_done or not self._route.ends_with_done) and self._status < 400:
            self._exchange.finish(body + tap.close())
            self._over("ok")
        else:
            if body:
                self._exchange.write(body)
            self._move_on("died", UpstreamBroken("The engine's stream ended before it was complete."))

    def _finish_unstreamed(self, connection: UpstreamConnection) -> None:
        connection.finish(self._outgoing.is_sent())
        self._connection = None
        self._over("engine_error" if self._status >= 400 or isinstance(self._answer, LateAnswer) else "ok")

    # going elsewhere, failing, ending

    def _is_committed(self) -> bool:
        if self._tap is not None:
            return self._tap.first_content_s is not None
        return self._has_answered

    def _move_on(self, why: Suspicion, error: UpstreamError) -> None:
        """This place failed: try another one while the client has seen nothing of an answer, else say so."""
        places, now_s = self._places, self._plane.now_s()
        places.blame(why)
        if self._is_committed() or not self._outgoing.can_send() or not places.may_go_on(why, now_s):
            self._fail(error, "failed")
            return
        places.leave(why, error)
        self._tap = self._answer = None
        self._status = 0
        self._is_cut = False
        self._last_heard_s = now_s
        self._acquire()

    def _fail(self, error: CortexError, outcome: Outcome) -> None:
        """End the exchange with an error in the client's dialect, or by a break where no dialect has room for one."""
        exchange = self._exchange
        if not exchange.is_begun or not self._status:
            self._status = status_of(error)
        if not exchange.is_begun:
            reply_error(exchange, error, self._request_id)
        elif isinstance(self._answer, UnstreamedAnswer):
            exchange.abort()
        else:
            exchange.is_keep_alive = False
            # The engine may have stopped within an event, and the next line would belong to it.
            exchange.finish(openai_event(error) if self._tap is None else b"\n\n" + openai_event(error))
        self._over(outcome, error)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._is_cut = True
            connection.drop()
            self._outgoing.on_lost()
            self.on_upstream_resume()

    def _over(self, outcome: Outcome, error: CortexError | None = None) -> None:
        if self._state == _OVER:
            return
        self._state = _OVER
        self._drop_connection()
        if outcome in ("ok", "engine_error"):
            self._places.note_answer()
        self._outgoing.release()
        self._places.give_back(is_cancelled=self._is_cut and outcome != "ok")
        self._plane.running.discard(self)
        self._plane.record(self._record(outcome, error))

    def _record(self, outcome: Outcome, error: CortexError | None) -> RequestRecord:
        now_s = self._plane.now_s()
        tap, answer, places = self._tap, self._answer, self._places
        usage = tap.usage if tap is not None else answer.read_usage() if answer is not None else self._usage
        completion = usage.completion_tokens if usage is not None else None
        first_s = tap.first_content_s if tap is not None else None
        return RequestRecord(
            request_id=self._request_id.decode("ascii"),
            path=self._route.operation,
            model=places.model,
            node=places.node,
            status=self._status,
            outcome=outcome,
            is_stream=self._outgoing.is_stream,
            attempts=places.count,
            lost=places.lost,
            cold_start=places.is_cold,
            prompt_tokens=usage.prompt_tokens if usage is not None else None,
            completion_tokens=completion,
            total_tokens=usage.total_tokens if usage is not None else None,
            tok_per_sec=tokens_per_s(completion, self._sent_s, first_s, tap.last_data_s if tap is not None else now_s),
            time_to_first_token_ms=(first_s - self._arrived_s) * 1e3 if first_s is not None else None,
            total_latency_ms=(now_s - self._arrived_s) * 1e3,
            error=None if error is None else error.code,
            peer=self._exchange.connection.peer,
            started_s=self._plane.epoch_s(self._arrived_s),
        )

    # Handler: the client's side

    def on_body(self, piece: bytes) -> None:
        self._sent_s = self._plane.now_s()  # an engine does not answer before it has the whole of an upload
        try:
            self._outgoing.on_body(piece)
        except CallerError as error:
            self._drop_connection()
            self._fail(error, "refused")

    def on_end(self) -> None:
        self._outgoing.on_end()

    def on_gone(self) -> None:
        # After [DONE] the openai SDK waits for the end of the message for an instant only, then it closes (3.57).
        has_all = self._tap is not None and self._tap.is_done and self._status < 400
        self._over("ok" if has_all else "client_gone")

    def on_pause(self) -> None:
        self._is_paused = True
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def on_resume(self) -> None:
        self._is_paused = False
        self._last_heard_s = self._plane.now_s()
        if self._connection is not None:
            self._connection.transport.resume_reading()

    def on_shutdown(self) -> None:
        self.shut()

    # Sweepable: the clock's side

    def shut(self) -> None:
        """The gateway stops: say so to the client."""
        if self._state != _OVER:
            self._drop_connection()
            self._fail(ShuttingDown("This gateway is shutting down: try again."), "failed")

    def sweep(self, now_s: float) -> None:
        if self._state == _SENT and self._is_committed():
            self._places.note_answer()
            self._outgoing.settle()
            self._places.vouch()
        if self._state == _SENT and not self._is_paused:  # else the client is slow; the front has a limit for that
            self._check_deadline(now_s)
        elif self._state == _WAITING and self._outgoing.is_stream:
            self._beat(now_s)

    def _check_deadline(self, now_s: float) -> None:
        tap, last_s = self._tap, self._last_heard_s if self._answer is not None else None
        if tap is not None and tap.first_content_s is not None:
            last_s = max(tap.look_for_content(), self._last_heard_s)
        why = overdue(self._plane.limit, now_s, sent_s=self._sent_s, last_s=last_s)
        if why is not None:
            self._drop_connection()
            if tap is not None and tap.is_done:
                return self._finish_stream(None, tap, b"")  # only the end of the message did not come
            self._places.blame("silent")
            self._fail(UpstreamTimeout(why), "failed")

    def _beat(self, now_s: float) -> None:
        """Keep a waiting stream open through proxies that time out on silence."""
        limit = self._plane.limit.heartbeat_every_s
        if not self._exchange.is_begun:
            limit = self._plane.limit.heartbeat_after_s
        if now_s - self._last_heard_s < limit:
            return
        self._last_heard_s = now_s
        ticket = self._places.ticket
        outlook = self._plane.leases.outlook(ticket) if ticket is not None else None
        beat(self._exchange, self._request_id, outlook)
