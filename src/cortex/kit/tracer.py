"""Begins traces and continues those of others, and takes spans to be sent. Opened where spans are wished, else absent.

Whether a trace is recorded is decided once, where it begins; everybody after that does as they are told.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from cortex import __version__
from cortex.contract.error import ConfigError
from cortex.kit.clock import Clock
from cortex.kit.span import Span, SpanSource
from cortex.kit.span_export import SpanExport, SpanSender
from cortex.kit.trace_context import TraceContext, is_recorded
from cortex.kit.trace_setting import TraceSection, TraceWish, trace_wish

if TYPE_CHECKING:
    from cortex.kit.otlp import OtlpSender

FLUSH_S = 3.0
"""How long a stop waits for spans that are not sent yet."""

log = logging.getLogger(__name__)


class Tracer:
    """Of one process. ``export`` may be anything that takes spans."""

    def __init__(self, export: SpanExport, ratio: float, clock: Clock, rng: Random) -> None:
        self._export = export
        self._ratio = ratio
        self._bits = rng.getrandbits
        self.clock = clock

    @property
    def dropped(self) -> int:
        """How many spans were lost."""
        return self._export.dropped

    @property
    def sent(self) -> int:
        """How many the collector has taken."""
        return self._export.sent

    def new_span_id(self) -> int:
        """Return an id for a span."""
        return self._bits(64) or 1

    def context(self, parent: TraceContext | None) -> TraceContext:
        """Return a new span of the parent's trace, or of a new one, for which it is decided whether it is recorded."""
        if parent is not None:
            return parent.child(self.new_span_id())
        trace_id = self._bits(128) or 1
        return TraceContext(trace_id, self.new_span_id(), is_recorded(trace_id, self._ratio))

    def put(self, source: SpanSource) -> None:
        """Take what is over; costs its owner nothing more."""
        self._export.put(source)

    def put_span(self, span: Span) -> None:
        """Take one span."""
        if span.context.is_sampled:
            self._export.put(Finished((span,)))

    async def close(self) -> None:
        """Send what is not sent yet, within a limit."""
        await asyncio.to_thread(self._export.close, FLUSH_S)


class Finished:
    """Spans that are made already. Implements ``SpanSource``."""

    __slots__ = ("_spans",)

    def __init__(self, spans: tuple[Span, ...]) -> None:
        self._spans = spans

    def span_count(self) -> int:
        return len(self._spans)

    def spans(self) -> list[Span]:
        return list(self._spans)


def open_tracer(
    section: TraceSection, env: Mapping[str, str], *, service: str, instance: str, clock: Clock, rng: Random
) -> Tracer | None:
    """Return a tracer when settings or environment wish for spans, else None: then nothing of it is imported.

    Raises: ConfigError for what is wrong with either, and when the settings ask for it and the extra is missing.
    """
    wish = trace_wish(section, env)
    sender = None if wish is None else _sender(wish, service, instance)
    if wish is None or sender is None:
        return None
    log.info("spans of %g %% of the requests go to %s", wish.ratio * 100, wish.url)
    return Tracer(SpanExport(sender), wish.ratio, clock, rng)


def check_trace(section: TraceSection, env: Mapping[str, str]) -> None:
    """Raise ConfigError for what would keep ``open_tracer`` from opening one; opens nothing."""
    wish = trace_wish(section, env)
    if wish is not None:
        _library(wish)


def _sender(wish: TraceWish, service: str, instance: str) -> SpanSender | None:
    library = _library(wish)
    if library is None:
        return None
    resource = {
        "service.name": service,
        "service.version": __version__,
        "service.instance.id": instance,
        "host.name": socket.gethostname(),
    }
    return library(wish.url, wish.headers, resource)


def _library(wish: TraceWish) -> "type[OtlpSender] | None":
    try:
        from cortex.kit.otlp import OtlpSender
    except ImportError as error:
        said = f'{error.name or "a library"} is not installed; the extra "trace" has it: pip install '
        said += "'cortex-gateway[trace]'"
        if wish.is_asked:
            raise ConfigError(f"[trace] endpoint: {said}") from error
        log.warning("the environment asks for spans (OTEL_EXPORTER_OTLP_…), and there are none: %s", said)
        return None
    return OtlpSender
