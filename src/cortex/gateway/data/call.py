"""One inference request, from the end of its head to the last byte of its answer.

    waiting --granted--> connecting --connected--> sent --first content--> committed --> over
       ^                      |                     |
       +------- another place, while nothing of an answer was committed -----+

No task: the call is told of everything that happens (grant, bytes, loss, client gone, the clock) and reacts at once, so
a chunk goes from the engine's socket to the client's in one step. Every way out goes through ``_over``, once, which
gives the place back and hands over the record.

What it does not do: choose a replica (``Leases``), read HTTP (``front``, ``upstream``), know a dialect beyond the tap.
"""

import logging

from cortex.contract.error import CallerError, CortexError, ShuttingDown, UpstreamBroken, UpstreamError, UpstreamTimeout
from cortex.dialects.error import openai_event
from cortex.dialects.model_splice import spliced
from cortex.dialects.openai_stream import StreamTap
from cortex.dialects.usage import Usage, read_usage
from cortex.fleet.effect import Grant, Target
from cortex.gateway.data import header
from cortex.gateway.data.answer import LateAnswer, UnstreamedAnswer
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.heartbeat import beat
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.plane import Plane, overdue
from cortex.gateway.data.record import Outcome, RequestRecord, tokens_per_s
from cortex.gateway.data.refusal import reply_error
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.data.upstream import Origin, UpstreamConnection
from cortex.gateway.edge_error import status_of
from cortex.gateway.ports import Suspicion

MAX_PLACES = 2
"""A request that was sent and lost is tried at one other place, once: a query of death costs two instances at most."""

MAX_UNSENT = 4
"""How often a place may turn out to be unreachable or gone before the request was sent."""

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
        "_attempts",
        "_connection",
        "_exchange",
        "_failure",
        "_has_answered",
        "_is_cold",
        "_is_holding_client",
        "_is_paused",
        "_last_heard_s",
        "_last_lost",
        "_lost",
        "_lost_after_send",
        "_model",
        "_node",
        "_origin",
        "_outgoing",
        "_plane",
        "_refreshed",
        "_request_id",
        "_route",
        "_sent_s",
        "_state",
        "_status",
        "_struck",
        "_tap",
        "_target",
        "_ticket",
        "_tried",
        "_unsent",
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
        self._ticket: int | None = None
        self._target: Target | None = None
        self._origin: Origin | None = None
        self._connection: UpstreamConnection | None = None
        self._tap: StreamTap | None = None
        self._answer: UnstreamedAnswer | LateAnswer | None = None
        self._has_answered = False
        self._is_paused = False
        self._is_holding_client = False
        self._is_cold = False
        self._sent_s = 0.0
        self._status = 0
        self._model = self._node = ""
        self._attempts = 0
        """Places that were granted."""
        self._tried: tuple[Target, ...] = ()
        self._lost: tuple[tuple[str, str], ...] = ()
        self._last_lost: tuple[tuple[str, str], ...] = ()
        """(node, error's code) of the last attempt, counted as lost once another one follows."""
        self._struck: tuple[Target, ...] = ()
        """Places whose failure was told: one request speaks against each once."""
        self._failure: UpstreamError | None = None
        """What became of the last place that was tried in vain."""
        self._lost_after_send = 0
        self._unsent = 0
        self._refreshed = False
        self._usage: Usage | None = None
        """What an answer cost that came whole."""

    def start(self) -> None:
        """Ask for a place."""
        self._plane.running.add(self)
        self._acquire()

    def _acquire(self) -> None:
        self._state = _WAITING
        ticket = self._plane.leases.acquire(self._outgoing.model, self, avoid=self._tried)
        if self._state == _WAITING and self._ticket is None:  # else a place failed within its grant, and we wait anew
            self._ticket = ticket

    # Waiter

    def granted(self, grant: Grant) -> None:
        self._ticket = grant.ticket
        self._target = target = grant.target
        self._model, self._node = target.model, target.node
        self._attempts += 1
        self._lost += self._last_lost
        self._is_cold = self._is_cold or grant.is_cold_start
        self._state = _CONNECTING
        self._origin = origin = self._plane.upstream.origin(target)
        connection = origin.take(self._plane.now_s())
        if connection is None:
            self._plane.upstream.connect(origin, self)
        else:
            self.on_connected(connection)

    def refused(self, error: CortexError, model: str, node: str) -> None:
        if self._state == _OVER:
            return
        self._ticket = None
        if node not in ("", self._node):
            self._lost += self._last_lost  # else the record of the whole stands for the last attempt
        self._model, self._node = model or self._model, node or self._node
        if self._failure is not None and isinstance(error, UpstreamError):
            self._fail(self._failure, "failed")  # there is no other place: what the last one did says more
        else:
            self._fail(error, "refused")

    # Owner: the engine's side

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self._state != _CONNECTING:
            connection.drop()
            return
        target, origin = self._target, self._origin
        assert target is not None
        assert origin is not None
        self._connection = connection
        self._state = _SENT
        self._has_answered = False
        if self._is_paused:
            connection.transport.pause_reading()
        self._sent_s = self._plane.now_s()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %s to %s on %s", self._request_id.decode(), self._route.operation, self._model, self._node)
        lines = b"%b%bx-request-id: %b\r\n" % (
            origin.head(self._route.path, self._exchange.query),
            header.to_engine(self._exchange.headers),
            self._request_id,
        )
        self._outgoing.send(connection, self, lines, target.engine_model)

    def on_connect_failed(self, error: UpstreamError) -> None:
        if self._state == _CONNECTING:
            self._unsent += 1
            self._move_on("unreachable", error, may_retry=self._unsent < MAX_UNSENT)

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
            self._lost_after_send += 1
            self._move_on("died", error, may_retry=self._lost_after_send < MAX_PLACES)

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
        if status in _NOT_HERE and self._origin.is_fenced and not self._refreshed and self._outgoing.can_send():
            # Another generation may live there by now; asked once, because some engines lack some paths.
            self._refreshed = True
            self._drop_connection()
            self._move_on("gone", UpstreamBroken("The instance is gone."), may_retry=True)
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
        assert self._target is not None
        is_json = header.content_type(connection.headers) == _JSON
        renames = is_json and self._target.engine_model not in ("", self._outgoing.model)
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
            self._lose_stream(tap)

    def _lose_stream(self, tap: StreamTap) -> None:
        """The stream ended without an end."""
        error = UpstreamBroken("The engine's stream ended before it was complete.")
        self._lost_after_send += 1
        self._move_on("died", error, may_retry=tap.first_content_s is None and self._lost_after_send < MAX_PLACES)

    def _finish_unstreamed(self, connection: UpstreamConnection) -> None:
        connection.finish(self._outgoing.is_sent())
        self._connection = None
        self._over("engine_error" if self._status >= 400 or isinstance(self._answer, LateAnswer) else "ok")

    # going elsewhere, failing, ending

    def _is_committed(self) -> bool:
        if self._tap is not None:
            return self._tap.first_content_s is not None
        return self._has_answered

    def _move_on(self, why: Suspicion, error: UpstreamError, *, may_retry: bool) -> None:
        """This place failed: try another one while the client has seen nothing of an answer, else say so."""
        assert self._target is not None
        self._plane.leases.suspect(self._target, "gone" if self._target in self._struck else why)
        if why != "gone":
            self._struck = (*self._struck, self._target)
        if not may_retry or self._is_committed() or not self._outgoing.can_send():
            self._fail(error, "failed")
            return
        if why == "died":
            self._tried = (*self._tried, self._target)
        self._last_lost = () if why == "gone" else ((self._node, error.code),)
        self._failure = error
        self._release_ticket()
        self._tap = self._answer = None
        self._status = 0
        self._last_heard_s = self._plane.now_s()
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
            connection.drop()
            self._outgoing.on_lost()
            self.on_upstream_resume()

    def _release_ticket(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._plane.leases.release(ticket)

    def _over(self, outcome: Outcome, error: CortexError | None = None) -> None:
        if self._state == _OVER:
            return
        self._state = _OVER
        self._drop_connection()
        self._outgoing.release()
        self._release_ticket()
        self._plane.running.discard(self)
        self._plane.record(self._record(outcome, error))

    def _record(self, outcome: Outcome, error: CortexError | None) -> RequestRecord:
        now_s = self._plane.now_s()
        tap, answer = self._tap, self._answer
        usage = tap.usage if tap is not None else answer.read_usage() if answer is not None else self._usage
        completion = usage.completion_tokens if usage is not None else None
        first_s = tap.first_content_s if tap is not None else None
        return RequestRecord(
            request_id=self._request_id.decode("ascii"),
            path=self._route.operation,
            model=self._model,
            node=self._node,
            status=self._status,
            outcome=outcome,
            is_stream=self._outgoing.is_stream,
            attempts=self._attempts,
            lost=self._lost,
            cold_start=self._is_cold,
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
            self._outgoing.settle()
        if self._state == _SENT and not self._is_paused:  # else the client is slow; the front has a limit for that
            self._check_deadline(now_s)
        elif self._state == _WAITING and self._outgoing.is_stream:
            self._beat(now_s)

    def _check_deadline(self, now_s: float) -> None:
        tap, last_s = self._tap, self._last_heard_s if self._answer is not None else None
        if tap is not None and tap.first_content_s is not None and tap.last_data_s is not None:
            last_s = max(tap.last_data_s, self._last_heard_s)
        why = overdue(self._plane.limit, now_s, sent_s=self._sent_s, last_s=last_s)
        if why is not None:
            self._drop_connection()
            if tap is not None and tap.is_done:
                return self._finish_stream(None, tap, b"")  # only the end of the message did not come
            self._fail(UpstreamTimeout(why), "failed")

    def _beat(self, now_s: float) -> None:
        """Keep a waiting stream open through proxies that time out on silence."""
        limit = self._plane.limit.heartbeat_every_s
        if not self._exchange.is_begun:
            limit = self._plane.limit.heartbeat_after_s
        if now_s - self._last_heard_s < limit:
            return
        self._last_heard_s = now_s
        beat(self._exchange, self._request_id)
