"""The trace of one request: what happened when, noted as it happens; made into spans when it is over.

    POST /v1/chat/completions                        server: from arrival to the last byte
        queue | load                                 until a place was granted; load: the model was not there yet
        chat <model>                                 client: one attempt at one node
            relay                                    from the first content to the end

Noting is all that happens in the request's time; ``spans`` is called in a thread of its own. Attributes:
OpenTelemetry's semantic conventions for HTTP and generative AI (2026), and under ``cortex.`` what they have no word
for. Nothing of prompts and answers is in them.
"""

from urllib.parse import urlsplit

from cortex.fleet.effect import Target
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.header import HeaderList
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.data.route import InferenceRoute
from cortex.kit.span import Attributes, Span, SpanKind
from cortex.kit.trace_context import TraceContext, read_context
from cortex.kit.tracer import Tracer

MAX_TEXT = 200
"""Longest text of a caller's in an attribute."""

_CHAT = b"/v1/chat/completions"
_OWN = frozenset((b"traceparent", b"tracestate"))


class Attempt:
    """One place that was asked for, and what became of it. Moments are the plane's; 0: it has not come to that."""

    __slots__ = (
        "answered_s", "asked_s", "context", "error", "granted_s", "has_waited", "is_cold", "over_s", "status", "target",
        "wait_id",
    )  # fmt: skip

    def __init__(self, asked_s: float) -> None:
        self.asked_s = asked_s
        self.granted_s = self.answered_s = self.over_s = 0.0
        self.wait_id = self.status = 0
        self.has_waited = self.is_cold = False
        self.target: Target | None = None
        self.context: TraceContext | None = None
        self.error = ""


class RequestTrace:
    """Of one request. Implements ``SpanSource`` once it is over."""

    __slots__ = (
        "_arrived_s", "_attempts", "_client", "_host", "_method", "_model", "_over_s", "_parent", "_record", "_route",
        "_scheme", "_tracer", "context",
    )  # fmt: skip

    def __init__(self, tracer: Tracer, exchange: Exchange, route: InferenceRoute, arrived_s: float) -> None:
        self._tracer = tracer
        parent = read_context(exchange.headers) if exchange.header(b"traceparent") is not None else None
        self._parent = parent
        self.context = tracer.context(parent)
        """The server span."""
        self._arrived_s = self._over_s = arrived_s
        self._route = route
        self._method = exchange.method
        self._host = exchange.header(b"host")
        self._client = exchange.client
        self._scheme = "https" if exchange.connection.transport.get_extra_info("ssl_object") else "http"
        self._attempts: list[Attempt] = []
        self._model = ""
        self._record: RequestRecord | None = None

    @property
    def trace_id(self) -> str:
        """As it stands in the log; empty when it is not recorded."""
        return f"{self.context.trace_id:032x}" if self.context.is_sampled else ""

    def replaced(self, headers: HeaderList) -> HeaderList:
        """Return a request's headers for the engine of this attempt: what it does is to be below it."""
        context = self._attempts[-1].context or self.context
        own = [(b"traceparent", context.traceparent)]
        if context.state:
            own.append((b"tracestate", context.state))
        return [*(pair for pair in headers if pair[0] not in _OWN), *own]

    def wait_context(self) -> TraceContext:
        """Return the span of the wait for a place, for what is done meanwhile."""
        if not self._attempts:
            return self.context
        attempt = self._attempts[-1]
        attempt.wait_id = attempt.wait_id or self._tracer.new_span_id()
        return self.context.child(attempt.wait_id)

    # what happens, in this order

    def asked(self, now_s: float) -> None:
        """It asks for a place."""
        self._attempts.append(Attempt(now_s))

    def waits(self) -> None:
        """There was none at once."""
        self._attempts[-1].has_waited = True

    def granted(self, target: Target, *, is_cold: bool, now_s: float) -> None:
        """It has a place."""
        attempt = self._attempts[-1]
        attempt.target, attempt.is_cold, attempt.granted_s = target, is_cold, now_s
        attempt.context = self.context.child(self._tracer.new_span_id())

    def answered(self, now_s: float) -> None:
        """The engine has begun to answer."""
        self._attempts[-1].answered_s = now_s

    def left(self, error: str, now_s: float) -> None:
        """The place failed, and another one is asked for."""
        attempt = self._attempts[-1]
        attempt.over_s, attempt.error = now_s, error

    def over(self, record: RequestRecord, model: str, first_content_s: float | None = None) -> None:
        """It is over: from here on this does not change any more. ``model``: as the caller named it."""
        if not self.context.is_sampled:
            return
        self._over_s = self._arrived_s + record.total_latency_ms * 1e-3
        if self._attempts:
            attempt = self._attempts[-1]
            attempt.over_s, attempt.status = self._over_s, record.status
            if attempt.answered_s and first_content_s is not None:
                attempt.answered_s = first_content_s
            if record.outcome in ("failed", "refused", "engine_error"):
                attempt.error = record.error or str(record.status)
        self._model, self._record = model, record
        self._tracer.put(self)

    # SpanSource

    def span_count(self) -> int:
        count = 1
        for attempt in self._attempts:
            count += attempt.has_waited
            if attempt.granted_s:
                count += 2 if attempt.answered_s else 1
        return count

    def spans(self) -> list[Span]:
        assert self._record is not None
        made = [self._server(self._record)]
        for number, attempt in enumerate(self._attempts):
            if attempt.has_waited:
                made.append(self._wait(attempt))
            if attempt.granted_s:
                made += self._attempt(attempt, number, self._record)
        return made

    def _server(self, record: RequestRecord) -> Span:
        path = self._route.path.decode()
        attributes: Attributes = {
            "http.request.method": self._method.decode("ascii", "replace"),
            "http.route": path,
            "url.path": path,
            "url.scheme": self._scheme,
            "gen_ai.provider.name": "cortex",
            "cortex.request_id": record.request_id,
            "cortex.outcome": record.outcome,
            "cortex.attempts": record.attempts,
            "cortex.cold_start": record.cold_start,
            **self._generative(record),
        }
        known: dict[str, str | int | None] = {
            "http.response.status_code": record.status or None,
            "client.address": self._client or None,
            "cortex.node": record.node or None,
            "cortex.key": record.key or None,
        }
        attributes |= {name: value for name, value in known.items() if value is not None}
        attributes |= _server_address(self._host)
        name, error = f"{attributes['http.request.method']} {path}", ""
        if record.outcome == "failed" or record.status >= 500:
            error = record.error or str(record.status)
        over_s = self._over_s
        return self._span(name, "server", self.context, self._parent, self._arrived_s, over_s, attributes, error)

    def _generative(self, record: RequestRecord) -> Attributes:
        """What the conventions for generative AI ask for, of the request and of the attempt that was answered."""
        route, first_ms = self._route, record.time_to_first_token_ms
        known: dict[str, str | int | float | None] = {
            "gen_ai.operation.name": _operation(route),
            "gen_ai.request.model": self._model[:MAX_TEXT] or None,
            "gen_ai.response.model": record.model or None,
            "gen_ai.request.stream": record.is_stream,
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.completion_tokens,
            "gen_ai.response.time_to_first_chunk": None if first_ms is None else first_ms * 1e-3,
        }
        return {name: value for name, value in known.items() if value is not None}

    def _wait(self, attempt: Attempt) -> Span:
        is_load = attempt.is_cold
        target, until_s = attempt.target, attempt.granted_s or attempt.over_s
        place: Attributes = {} if target is None else {"cortex.model": target.model, "cortex.node": target.node}
        error = "" if attempt.granted_s else attempt.error
        context = self.context.child(attempt.wait_id or self._tracer.new_span_id())
        name = "load" if is_load else "queue"
        return self._span(name, "internal", context, self.context, attempt.asked_s, until_s, place, error)

    def _attempt(self, attempt: Attempt, number: int, record: RequestRecord) -> list[Span]:
        target, context = attempt.target, attempt.context
        assert target is not None
        assert context is not None
        operation = _operation(self._route)
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": target.kind or "cortex",
            "gen_ai.request.model": target.engine_model or target.model,
            "cortex.node": target.node,
            "cortex.generation": target.generation,
            **_address(target.url),
        }
        if number:
            attributes["http.request.resend_count"] = number
        if attempt is self._attempts[-1]:
            attributes |= {name: value for name, value in self._generative(record).items() if name not in attributes}
            if attempt.answered_s:
                attributes["http.response.status_code"] = attempt.status
        name, start_s, over_s = f"{operation} {target.model}", attempt.granted_s, attempt.over_s
        made = [self._span(name, "client", context, self.context, start_s, over_s, attributes, attempt.error)]
        if attempt.answered_s:
            below = context.child(self._tracer.new_span_id())
            made.append(self._span("relay", "internal", below, context, attempt.answered_s, over_s, {}, ""))
        return made

    def _span(
        self,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        parent: TraceContext | None,
        start_s: float,
        end_s: float,
        attributes: Attributes,
        error: str,
    ) -> Span:
        assert self._record is not None
        shift_s = self._record.started_s - self._arrived_s  # from the plane's clock to UTC
        return Span(
            name=name,
            kind=kind,
            context=context,
            parent=parent,
            start_s=start_s + shift_s,
            end_s=end_s + shift_s,
            attributes=attributes,
            error=error,
        )


def _operation(route: InferenceRoute) -> str:
    """Return the conventions' word for what is asked: a dialect of chats is a chat."""
    return "chat" if _CHAT in (route.path, route.engine_path) else route.operation


def _server_address(host: bytes | None) -> Attributes:
    """What a ``Host`` header says; nothing of one that says nothing usable."""
    if host is None:
        return {}
    return _address(f"//{host.decode('ascii', 'replace')[:MAX_TEXT]}")


def _address(url: str) -> Attributes:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return {}
    found: Attributes = {"server.address": parts.hostname} if parts.hostname else {}
    return found | {"server.port": port} if found and port else found
