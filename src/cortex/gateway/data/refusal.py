"""Answers without an engine, most of the time with an error; what never became a call is put on record all the same."""

from cortex.contract.error import CortexError, QuotaExhausted
from cortex.dialects.interface import Dialect
from cortex.gateway.data import header
from cortex.gateway.data.exchange import JSON_HEADERS, Exchange
from cortex.gateway.data.plane import Plane
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.data.request_trace import RequestTrace
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.edge_error import retry_after_s, status_of


def refuse(plane: Plane, exchange: Exchange, route: InferenceRoute, error: CortexError, arrived_s: float) -> None:
    """Answer a request that never became a call, and record it."""
    request_id = request_id_of(plane, exchange)
    reply_error(exchange, route.dialect, error, request_id)
    record_refusal(plane, exchange, route, error, request_id, arrived_s)


def reply_error(exchange: Exchange, dialect: Dialect, error: CortexError, request_id: bytes) -> None:
    """Answer a request, of whose answer nothing was sent, with an error in its dialect."""
    status = status_of(error, dialect.name)
    lines = JSON_HEADERS + header.own_lines(dialect, request_id) + retry_lines(error)
    exchange.reply(status, lines, dialect.error_body(error, status, request_id.decode("ascii")))


def request_id_of(plane: Plane, exchange: Exchange) -> bytes:
    """Return the caller's id of a request, or a new one."""
    return header.valid_request_id(exchange.header(b"x-request-id")) or plane.new_request_id()


def reply_own(
    plane: Plane, exchange: Exchange, route: InferenceRoute, model: str, body: bytes, arrived_s: float
) -> None:
    """Answer a request for which no engine is needed, and record it."""
    request_id = request_id_of(plane, exchange)
    exchange.reply(200, JSON_HEADERS + header.own_lines(route.dialect, request_id), body)
    _record(plane, exchange, route, 200, request_id, arrived_s, model=model)


def record_refusal(
    plane: Plane, exchange: Exchange, route: InferenceRoute, error: CortexError, request_id: bytes, arrived_s: float
) -> None:
    """Put on record a request that never became a call."""
    _record(plane, exchange, route, status_of(error, route.dialect.name), request_id, arrived_s, error=error)


def _record(
    plane: Plane,
    exchange: Exchange,
    route: InferenceRoute,
    status: int,
    request_id: bytes,
    arrived_s: float,
    *,
    model: str = "",
    error: CortexError | None = None,
) -> None:
    key = exchange.key
    trace = None if plane.tracer is None else RequestTrace(plane.tracer, exchange, route, arrived_s)
    record = RequestRecord(
        request_id=request_id.decode("ascii"),
        path=route.operation,
        model=model,
        node="",
        status=status,
        outcome="ok" if error is None else "refused",
        is_stream=False,
        attempts=0,
        cold_start=False,
        prompt_tokens=None,
        completion_tokens=None,
        total_tokens=None,
        tok_per_sec=None,
        time_to_first_token_ms=None,
        total_latency_ms=(plane.now_s() - arrived_s) * 1e3,
        error=None if error is None else error.code,
        peer=exchange.connection.peer,
        started_s=plane.epoch_s(arrived_s),
        key="" if key is None else key.name,
        key_id="" if key is None else key.id,
        trace_id="" if trace is None else trace.trace_id,
    )
    plane.record(record)
    if trace is not None:
        trace.over(record, model)


def retry_lines(error: CortexError) -> bytes:
    """Whether to ask again, and the ``Retry-After`` of an error that goes away by itself.

    ``x-should-retry`` is heeded before the status by the SDKs of OpenAI and Anthropic (measured 2026-10), which would
    otherwise ask again after every 5xx, also where that is of no use.
    """
    seconds = retry_after_s(error)
    if seconds is None:
        return b"x-should-retry: false\r\n"
    if isinstance(error, QuotaExhausted):  # it says when, but that may be weeks away
        return b"retry-after: %d\r\nx-should-retry: false\r\n" % seconds
    return b"retry-after: %d\r\nx-should-retry: true\r\n" % seconds
