"""Spans to an OpenTelemetry collector, by OTLP over HTTP: the one file that knows OpenTelemetry's libraries.

Imported only where spans are wished. The exporter is theirs: encoding, TLS, compression, tries within its timeout.
"""

import logging
from collections.abc import Mapping, Sequence

import requests  # the exporter's own: it takes a session of it
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from cortex import __version__
from cortex.kit.span import Span
from cortex.kit.trace_context import TraceContext

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class OtlpSender:
    """Implements ``SpanSender``."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        self._words = _LastWords()
        self._words.attach()
        session = requests.Session()
        session.hooks["response"] = [_refuse_redirect]
        self._exporter = OTLPSpanExporter(endpoint=url, headers=dict(headers) or None, session=session)
        self._url = url
        self._resource = Resource.create(dict(resource)).merge(OTELResourceDetector().detect())  # the operator's own
        self._scope = InstrumentationScope("cortex", __version__)

    def send(self, spans: Sequence[Span]) -> str:
        self._words.last = ""
        try:
            outcome = self._exporter.export([self._readable(span) for span in spans])
        except Exception as error:  # whatever a library does, requests are not to notice
            return f"{self._url}: {error!r}"
        return "" if outcome is SpanExportResult.SUCCESS else f"{self._url}: {self._words.last or 'not delivered'}"

    def give_up(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._words.detach()

    def _readable(self, span: Span) -> ReadableSpan:
        attributes = {**span.attributes, "error.type": span.error} if span.error else span.attributes
        return ReadableSpan(
            name=span.name,
            context=_context(span.context, is_remote=False),
            parent=None if span.parent is None else _context(span.parent, is_remote=span.kind == "server"),
            resource=self._resource,
            attributes=attributes,
            kind=_KINDS[span.kind],
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=int(span.start_s * 1e9),
            end_time=int(span.end_s * 1e9),
        )


def _refuse_redirect(response: requests.Response, *_: object, **__: object) -> None:
    """Raise for an answer that sends elsewhere: a library would get that page, and take it for a delivery."""
    if 300 <= response.status_code < 400:
        elsewhere = response.headers.get("location", "nowhere")[:200]
        response.close()
        raise requests.RequestException(f"{response.status_code}: it sends to {elsewhere}; make that the endpoint")


class _LastWords(logging.Handler):
    """Keeps what the exporter says of its failure, which it says with every batch, out of the log."""

    _LOGGER = "opentelemetry.exporter"

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def attach(self) -> None:
        logger = logging.getLogger(self._LOGGER)
        logger.addHandler(self)
        logger.propagate = False

    def detach(self) -> None:
        logger = logging.getLogger(self._LOGGER)
        logger.removeHandler(self)
        logger.propagate = not logger.handlers

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(context.flags | context.is_sampled)
    state = TraceState.from_header([context.state.decode("ascii")]) if context.state else None
    return SpanContext(context.trace_id, context.span_id, is_remote, flags, state)
