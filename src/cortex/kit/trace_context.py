"""W3C trace context: what ``traceparent`` and ``tracestate`` say, and whether a new trace is recorded. Pure.

Malformed headers are as good as none. A trace that somebody else has begun is recorded when they record it, and else
not; of new ones so many as is wished, by the rule that every OpenTelemetry SDK has, so that all who see the same trace
id judge alike. Source: W3C Trace Context Level 2 §3; OpenTelemetry SDK specification, TraceIdRatioBased.
"""

import re
from collections.abc import Iterable

import msgspec

MAX_STATE_BYTES = 512
"""What everybody has to pass on; more is dropped whole."""
MAX_STATE_MEMBERS = 32

_SAMPLED = 0x01
_KNOWN_FLAGS = 0x03
"""Recorded, and: the trace id is random."""
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER = re.compile(
    rb"(?:[a-z0-9][a-z0-9_\-*/@]{0,255})=(?:[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)


class TraceContext(msgspec.Struct, frozen=True):
    """A span, as others refer to it. ``state`` is passed on as it came."""

    trace_id: int
    span_id: int
    is_sampled: bool
    state: bytes = b""
    flags: int = 0
    """Those of ``traceparent`` but for whether it is recorded."""

    @property
    def traceparent(self) -> bytes:
        """The header's value."""
        return b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.flags | self.is_sampled)

    def child(self, span_id: int) -> "TraceContext":
        """Return another span of the same trace."""
        return TraceContext(self.trace_id, span_id, self.is_sampled, self.state, self.flags)


def read_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return what headers (names in lower case) say of the caller's span; None when that is nothing, or malformed."""
    parent, states = None, []
    for name, value in headers:
        if name == b"traceparent":
            if parent is not None:
                return None  # two parents are none
            parent = value
        elif name == b"tracestate":
            states.append(value)
    return None if parent is None else parse_context(parent, b",".join(states))


def parse_context(traceparent: bytes, tracestate: bytes = b"") -> TraceContext | None:
    """Return what the two values say; None when ``traceparent`` is malformed. A malformed ``tracestate`` is dropped."""
    found = _PARENT.fullmatch(traceparent.strip(b" \t"))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    trace_id, span_id, bits = int(trace, 16), int(span, 16), int(flags, 16)
    if version == b"ff" or (version == b"00" and more is not None) or not trace_id or not span_id:
        return None
    return TraceContext(
        trace_id, span_id, bool(bits & _SAMPLED), _valid_state(tracestate), bits & _KNOWN_FLAGS & ~_SAMPLED
    )


def is_recorded(trace_id: int, ratio: float) -> bool:
    """Tell whether a new trace is one of the share ``ratio`` that is recorded."""
    return trace_id & 0xFFFF_FFFF_FFFF_FFFF < round(ratio * 2**64)


def _valid_state(text: bytes) -> bytes:
    if not text or len(text) > MAX_STATE_BYTES:
        return b""
    members = [member for part in text.split(b",") if (member := part.strip(b" \t"))]
    keys = {member.partition(b"=")[0] for member in members}
    is_valid = len(members) <= MAX_STATE_MEMBERS and len(keys) == len(members)
    return b",".join(members) if is_valid and all(map(_MEMBER.fullmatch, members)) else b""
