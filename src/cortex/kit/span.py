"""Spans as they are handed to whoever exports them: finished, plain data. Names of attributes are OpenTelemetry's.

Times are UTC epoch seconds. What is not known is left out. No span carries anything of a prompt or an answer.
"""

from typing import Literal, Protocol

import msgspec

from cortex.kit.trace_context import TraceContext

SpanKind = Literal["server", "client", "internal"]
Attributes = dict[str, str | int | float | bool]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span. ``error``: what kind of failure it ended with, empty for none."""

    name: str
    kind: SpanKind
    context: TraceContext
    parent: TraceContext | None
    start_s: float
    end_s: float
    attributes: Attributes
    error: str = ""


class SpanSource(Protocol):
    """Something that is over and can be told in spans. Made into them in a thread of its own: it must not change."""

    def span_count(self) -> int:
        """Return how many spans it is; cheap."""

    def spans(self) -> list[Span]:
        """Return them."""
