"""What a piece of work is done for: the request that has caused it, and the span that it belongs to.

Carried by the running task and whatever tasks it starts, so that lines of the log and calls to other daemons name the
request without anybody handing it on. Nothing is decided by it. The hot path does without.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from cortex.kit.trace_context import TraceContext

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Cause(msgspec.Struct, frozen=True):
    """``request_id``: empty where there is none, as for what operators and stewards do."""

    request_id: str = ""
    context: TraceContext | None = None

    def headers(self) -> dict[str, str]:
        """Return what tells another daemon of it."""
        told = {"x-request-id": self.request_id} if self.request_id else {}
        if self.context is not None:
            told["traceparent"] = self.context.traceparent.decode()
            if self.context.state:
                told["tracestate"] = self.context.state.decode()
        return told

    def fields(self) -> dict[str, str]:
        """Return what stands in a line of the log."""
        told = {"request_id": self.request_id} if self.request_id else {}
        if self.context is not None and self.context.is_sampled:
            told["trace_id"] = f"{self.context.trace_id:032x}"
            told["span_id"] = f"{self.context.span_id:016x}"
        return told


NOTHING = Cause()
_CAUSE: ContextVar[Cause] = ContextVar("cause", default=NOTHING)


def valid_request_id(value: bytes | None) -> bytes | None:
    """Return a caller's ``x-request-id`` when it can be passed on and logged as it is."""
    return value if value is not None and _REQUEST_ID.fullmatch(value) else None


def cause_of_now() -> Cause:
    """Return what the running task is for; ``NOTHING`` for nothing in particular."""
    return _CAUSE.get()


def work_for(cause: Cause) -> None:
    """From here on the running task, and those that it starts, work for ``cause``."""
    _CAUSE.set(cause)


@contextmanager
def working_for(cause: Cause) -> Iterator[None]:
    """Within the block the running task, and those that it starts, work for ``cause``."""
    token = _CAUSE.set(cause)
    try:
        yield
    finally:
        _CAUSE.reset(token)
