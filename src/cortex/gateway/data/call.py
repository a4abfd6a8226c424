"""One inference request, from the end of its head to the last byte of its answer.

    waiting --granted--> connecting --connected--> sent --first content--> committed --> over
       ^                      |                     |
       +------- another place, while nothing of an answer was committed -----+

No task: the call is told of everything that happens (grant, bytes, loss, client gone, the clock) and reacts at once, so
a chunk goes from the engine's socket to the client's in one step. Every way out goes through ``_over``, once, which
gives the place back and hands over the record.

What it does not do: choose a replica (``Leases``), say whether it may have another one (``places``), read HTTP
(``front``, ``upstream``), know any dialect: what is translated goes through its ``Translation``.
"""

import logging

from cortex.contract.activity import RunningRequest
from cortex.contract.error import CallerError, CortexError, ShuttingDown, UpstreamBroken, UpstreamError, UpstreamTimeout
from cortex.dialects.interface import Tap
from cortex.fleet.effect import Grant
from cortex.fleet.outlook import in_words
from cortex.gateway.data import header
from cortex.gateway.data.answering import Answering
from cortex.gateway.data.demand import conversation_of
from cortex.gateway.data.engine_head import engine_lines
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.limit_gate import settle
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.places import Places
from cortex.gateway.data.plane import Plane, overdue
from cortex.gateway.data.record import Outcome, RequestRecord, spent_ms, tokens_per_s
from cortex.gateway.data.request_trace import RequestTrace
from cortex.gateway.data.response_owner import owned
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.data.running import Seen, running_request
from cortex.gateway.data.upstream import Origin, UpstreamConnection
from cortex.gateway.ports import Suspicion
from cortex.kit.cause import Cause

log = logging.getLogger(__name__)

_NOT_HERE = (401, 404, 503)
"""What a fence answers to a stale URL, and llama-server while it loads (or wakes up)."""
_WAITING, _CONNECTING, _SENT, _OVER = range(4)


class Call:
    """One inference request. Implements Handler (client), Owner (engine), Waiter (leases), Sweepable (clock)."""

    __slots__ = (
        "_answering",
        "_arrived_s",
        "_connection",
        "_exchange",
        "_forwarded_s",
        "_is_cut",
        "_is_holding_client",
        "_is_patient",
        "_is_paused",
        "_last_beat_s",
        "_last_heard_s",
        "_origin",
        "_outgoing",
        "_passed_on_ms",
        "_places",
        "_plane",
        "_read_s",
        "_request_id",
        "_route",
        "_sent_s",
        "_state",
    )

    def __init__(
        self,
        plane: Plane,
        exchange: Exchange,
        route: InferenceRoute,
        outgoing: Outgoing,
        arrived_s: float,
        *,
        is_patient: bool = False,
    ) -> None:
        """``is_patient``: nobody waits for the answer with a connection open."""
        self._is_patient = is_patient
        self._plane = plane
        self._exchange = exchange
        self._route = route
        self._outgoing = outgoing
        self._arrived_s = arrived_s
        self._last_beat_s = 0.0
        """When a sign of life was last sent on behalf of an engine."""
        self._last_heard_s = arrived_s
        """When the waiting client was last written to, an unstreamed answer last grew, or a slow client caught up."""
        self._request_id = header.valid_request_id(exchange.header(b"x-request-id")) or plane.new_request_id()
        self._state = _WAITING
        trace = None if plane.tracer is None else RequestTrace(plane.tracer, exchange, route, arrived_s)
        conversation = conversation_of(exchange, outgoing.opening)
        self._places = Places(plane, outgoing, plane.callers.name_of(exchange), conversation, trace, exchange)
        self._origin: Origin | None = None
        self._connection: UpstreamConnection | None = None
        self._answering = Answering(exchange, route, outgoing, self._request_id)
        self._is_cut = False
        """An engine was left in the middle of the request, and may be at it still."""
        self._is_paused = False
        self._is_holding_client = False
        self._sent_s = 0.0
        self._forwarded_s = 0.0
        """When its first attempt was written, 0 when there was another one."""
        self._read_s = 0.0
        """When the engine's bytes came that the client's answer may begin with; 0 when they have been looked at."""
        self._passed_on_ms: float | None = None

    @property
    def is_sent(self) -> bool:
        """Whether an engine has the request."""
        return self._state == _SENT

    def start(self) -> None:
        """Ask for a place."""
        self._plane.begin(self, self._request_id, self._outgoing)
        ban = self._places.ban() if self._outgoing.size_bytes in self._plane.poison.lengths else None
        if ban is None:
            self._acquire()
        else:
            self._fail(ban, "refused")

    def _acquire(self) -> None:
        self._state = _WAITING
        self._places.ask(self, self._patience_s())

    def _patience_s(self) -> float | None:
        """How long it can wait. A stream is kept open by heartbeats; who hears nothing gives up some day."""
        if self._outgoing.is_stream or self._is_patient:
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

    def cause(self) -> Cause:
        return self._places.cause(self._request_id)

    # Owner: the engine's side

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self._state != _CONNECTING:
            connection.drop()
            return
        places, origin = self._places, self._origin
        assert origin is not None
        self._connection = connection
        self._state = _SENT
        if self._is_paused:
            connection.transport.pause_reading()
        self._sent_s = self._plane.now_s()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s to %s on %s", self._route.operation, places.model, places.node, extra=self.cause().fields())
        places.note_sent(self._sent_s)
        try:
            lines = engine_lines(self._route, origin, self._exchange, self._request_id, places.trace)
            self._outgoing.send(connection, self, lines, origin.target)
            self._forwarded_s = self._plane.now_s() if places.count == 1 else 0.0
        except Exception as error:  # a defect of ours must not leave the client waiting
            is_ours = not isinstance(error, CallerError)  # its own shows as it is written for this engine
            if is_ours:
                log.exception("sending a request", extra=self.cause().fields())
            self._drop_connection()
            self._fail(error if isinstance(error, CortexError) else CortexError(), "failed" if is_ours else "refused")

    def on_connect_failed(self, error: UpstreamError) -> None:
        if self._state == _CONNECTING:
            self._move_on("unreachable", error)

    def on_answer(self, connection: UpstreamConnection, body: bytes, is_complete: bool) -> None:
        tap, now_s = self._answering.tap, self._plane.now_s()
        is_first = not self._exchange.is_begun
        if is_first:
            self._read_s = now_s
        try:
            if tap is None or is_complete or not body:
                self._take_answer(connection, body, is_complete)
            elif body := tap.feed(body, now_s):  # a stream under way: the hottest line of all
                if self._exchange.is_begun:
                    self._exchange.write(body)
                else:
                    self._write(tap, body)
        except UpstreamError as error:
            self._drop_connection()
            self._fail(error, "failed")
        except Exception:  # a defect of ours must not leave the client waiting
            log.exception("relaying an answer", extra=self.cause().fields())
            connection.drop()
            if self._state != _OVER:
                self._fail(CortexError(), "failed")
        if is_first and self._state != _OVER:
            if self._exchange.is_begun:
                self._passed_on_ms = spent_ms(now_s, self._plane.now_s())
            self._read_s = 0.0

    def _take_answer(self, connection: UpstreamConnection, body: bytes, is_complete: bool) -> None:
        answering = self._answering
        if not answering.is_here:
            if not (body or is_complete):
                return  # a head alone binds nobody: the engine may still die over the prompt
            if connection.status in _NOT_HERE and self._is_gone():
                return
            answering.take_head(connection)
            if self._places.trace is not None:
                self._places.trace.answered(self._plane.now_s())
            if answering.answer is None and answering.tap is None:
                if is_complete:
                    answering.reply_whole(connection, body)
                    self._let_go_of(connection)
                    return self._over("engine_error" if answering.status >= 400 else "ok")
                assert self._origin is not None
                answering.begin_unstreamed(connection, self._origin.target.engine_model)
        tap = answering.tap
        if tap is not None:
            if body:
                body = tap.feed(body, self._plane.now_s())
            if is_complete:
                self._finish_stream(connection, tap, body)
            elif body:
                self._write(tap, body)
        else:
            assert answering.answer is not None
            self._last_heard_s = self._plane.now_s()
            answering.answer.feed(body, is_complete)
            if is_complete:
                self._let_go_of(connection)
                if answering.status < 400 or not self._asks_for_less():
                    self._over(*answering.finish_unstreamed())

    def _write(self, tap: Tap, body: bytes) -> None:
        """Pass on a part of a stream; an error before its first word is an answer of its own."""
        if not self._exchange.is_begun and tap.carries_error:
            self._drop_connection()
            self._finish_stream(None, tap, body)
        else:
            self._answering.write(body)

    def on_lost(self, error: UpstreamError, is_untouched: bool) -> None:
        self._connection = None
        self._outgoing.on_lost()
        self.on_upstream_resume()  # nobody is left who reads too slowly
        tap = self._answering.tap
        if tap is not None and tap.is_done:
            self._finish_stream(None, tap, b"")
        elif is_untouched and self._outgoing.can_send():
            # The engine closed an idle connection as we wrote: it has seen nothing of the request.
            self._state = _CONNECTING
            assert self._origin is not None
            self._plane.upstream.connect(self._origin, self)
        else:
            if not self._answering.is_committed:
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

    def _is_gone(self) -> bool:
        """Tell whether the answer says that this generation is no more, and the request has gone elsewhere."""
        assert self._origin is not None
        if not self._origin.is_fenced or self._places.is_refreshed or not self._outgoing.can_send():
            return False
        self._places.is_refreshed = True  # another generation may live there by now
        self._drop_connection()
        self._move_on("gone", UpstreamBroken("The instance is gone."))
        return True

    def _asks_for_less(self) -> bool:
        """Ask the same engine for as long an answer as it has room for, once, where it refused to be asked for more.

        Agents ask for as much as their model could give anywhere, and nobody knows a prompt's length before.
        """
        room = self._answering.room_left() if self._outgoing.can_send() else None
        if room is None or not self._outgoing.ask_for_less(room):
            return False
        self._answering.reset()
        self._state = _CONNECTING
        assert self._origin is not None
        self._plane.upstream.connect(self._origin, self)
        return True

    def _finish_stream(self, connection: UpstreamConnection | None, tap: Tap, body: bytes) -> None:
        self._let_go_of(connection)
        end = self._answering.finish_stream(tap, body)
        if end is None:
            self._move_on("died", UpstreamBroken("The engine's stream ended before it was complete."))
        else:
            self._over(*end)

    def _let_go_of(self, connection: UpstreamConnection | None) -> None:
        """The engine's answer is over."""
        if connection is not None:
            connection.finish(self._outgoing.is_sent())
        self._connection = None

    # going elsewhere, failing, ending

    def _move_on(self, why: Suspicion, error: UpstreamError) -> None:
        """This place failed: try another one while the client has seen nothing of an answer, else say so."""
        places, now_s = self._places, self._plane.now_s()
        places.blame(why)
        if self._answering.is_committed or not self._outgoing.can_send() or not places.may_go_on(why, now_s):
            self._fail(error, "failed")
            return
        places.leave(why, error)
        self._answering.reset()
        self._is_cut = False
        self._last_heard_s = now_s
        self._acquire()

    def _fail(self, error: CortexError, outcome: Outcome) -> None:
        """End the exchange with an error in the client's dialect, or by a break where no dialect has room for one."""
        self._answering.fail(error)
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
        if self._outgoing.translation is not None and (kept := self._outgoing.translation.keep(error)) is not None:
            self._plane.keep(owned(kept, self._exchange.key))
        self._places.give_back(is_cancelled=self._is_cut and outcome != "ok")
        self._plane.running.discard(self)
        record = self._record(outcome, error)
        settle(self._exchange, record)
        self._plane.record(record)
        if self._places.trace is not None:
            self._places.trace.over(record, self._outgoing.model)

    def _record(self, outcome: Outcome, error: CortexError | None) -> RequestRecord:
        now_s, key = self._plane.now_s(), self._exchange.key
        tap, places = self._answering.tap, self._places
        usage = self._answering.read_usage()
        completion = usage.completion_tokens if usage is not None else None
        first_s = tap.first_content_s if tap is not None else None
        return RequestRecord(  # in the order of its fields: by name it costs five times as much, a microsecond
            self._request_id.decode("ascii"),
            self._route.operation,
            places.model,
            places.node,
            self._answering.status,
            outcome,
            self._outgoing.is_stream,
            places.count,
            places.is_cold,
            usage.prompt_tokens if usage is not None else None,
            completion,
            usage.total_tokens if usage is not None else None,
            tokens_per_s(completion, self._sent_s, first_s, tap.last_data_s if tap is not None else now_s),
            (first_s - self._arrived_s) * 1e3 if first_s is not None else None,
            (now_s - self._arrived_s) * 1e3,
            None if error is None else error.code,
            self._exchange.connection.peer,
            self._plane.epoch_s(self._arrived_s, now_s),
            places.lost,
            "" if key is None else key.name,
            "" if key is None else key.id,
            spent_ms(self._exchange.received_s, self._forwarded_s, places.waited_s),
            spent_ms(self._read_s, now_s) if self._read_s else self._passed_on_ms,
            self._exchange.received_bytes,
            self._exchange.sent_bytes,
            "" if places.trace is None else places.trace.trace_id,
        )

    def look(self) -> tuple[RunningRequest, int | None]:
        is_waiting, answering = self._state == _WAITING, self._answering
        about = Seen(self._request_id, self._route, self._exchange, self._outgoing, self._places, answering)
        return running_request(self._plane, about, self._arrived_s, is_waiting=is_waiting)

    # Handler: the client's side

    def on_body(self, piece: bytes) -> None:
        self._exchange.received_bytes += len(piece)
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
        self._over("ok" if self._answering.is_whole else "client_gone")

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
        if self._state == _SENT and self._answering.is_committed:
            self._places.note_answer()
            self._outgoing.settle()
            self._places.vouch()
        if self._state == _SENT and not self._is_paused:  # else the client is slow; the front has a limit for that
            self._check_deadline(now_s)
            if self._state == _SENT and self._outgoing.is_stream and self._outgoing.translation is not None:
                self._beat_for_engine(now_s)
        elif self._state == _WAITING and self._outgoing.is_stream:
            self._beat(now_s)

    def _check_deadline(self, now_s: float) -> None:
        tap = self._answering.tap
        last_s = self._last_heard_s if self._answering.answer is not None else None
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
        if now_s - self._last_heard_s < self._beat_after_s():
            return
        self._last_heard_s = now_s
        ticket = self._places.ticket
        outlook = self._plane.leases.outlook(ticket) if ticket is not None else None
        words = "waiting for the model" if outlook is None else in_words(outlook)
        self._answering.beat(words)

    def _beat_for_engine(self, now_s: float) -> None:
        """Likewise while an engine reads a long prompt, or writes a long call, which is passed on whole.

        Whatever an engine refuses for, it refuses for long before the first beat.
        """
        written_s = self._answering.written_s
        if now_s - max(self._last_beat_s, self._last_heard_s, self._sent_s, written_s) >= self._beat_after_s():
            self._last_beat_s = now_s
            self._answering.beat("the model is at work")

    def _beat_after_s(self) -> float:
        limit = self._plane.limit
        return limit.heartbeat_every_s if self._exchange.is_begun else limit.heartbeat_after_s
