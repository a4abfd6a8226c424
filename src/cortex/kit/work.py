"""The span of a piece of work that tasks do, and the phases within it: a load in a gateway, a load in a neuron.

Whoever begins it makes it the running task's: calls to other daemons and lines of the log then belong to it, and
``phase`` marks its parts from wherever they are done, without anybody handing it on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cortex.kit.cause import NOTHING, Cause, cause_of_now, work_for
from cortex.kit.span import Attributes, Span, SpanKind
from cortex.kit.trace_context import TraceContext
from cortex.kit.tracer import Tracer

_WORK: ContextVar["Work | None"] = ContextVar("work", default=None)


class Work:
    """Begun when it is made; ends once."""

    def __init__(
        self, tracer: Tracer, name: str, kind: SpanKind, parent: TraceContext | None, attributes: Attributes
    ) -> None:
        self.context = tracer.context(parent)
        self.is_handed_on = False
        """Whether somebody else ends it than who has begun it."""
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._parent = parent
        self._attributes = attributes
        self._begin_s = tracer.clock.now_s()
        self._shift_s = tracer.clock.epoch_s() - self._begin_s
        """One for all, so that parts lie within the whole to the last digit."""
        self._is_over = False

    def end(self, error: str = "", attributes: Attributes | None = None) -> None:
        """It is over; told again, nothing happens."""
        if self._is_over:
            return
        self._is_over = True
        self._attributes |= attributes or {}
        self._tell(self._name, self._kind, self.context, self._parent, self._begin_s, self._attributes, error)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block is a part of the work."""
        begin_s, error = self._tracer.clock.now_s(), ""
        try:
            yield
        except BaseException as exc:
            error = getattr(exc, "code", type(exc).__name__)
            raise
        finally:
            context = self.context.child(self._tracer.new_span_id())
            self._tell(name, "internal", context, self.context, begin_s, {}, error)

    def _tell(
        self,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        parent: TraceContext | None,
        begin_s: float,
        attributes: Attributes,
        error: str,
    ) -> None:
        if not context.is_sampled:
            return
        end_s = self._tracer.clock.now_s()
        self._tracer.put_span(
            Span(
                name=name,
                kind=kind,
                context=context,
                parent=parent,
                start_s=begin_s + self._shift_s,
                end_s=end_s + self._shift_s,
                attributes=attributes,
                error=str(error),
            )
        )


def begin_work(tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes) -> Work:
    """Begin work below whatever the running task is for; from here on the task is for this work."""
    cause = cause_of_now()
    work = Work(tracer, name, kind, cause.context, attributes)
    work_for(Cause(cause.request_id, work.context))
    _WORK.set(work)
    return work


def take_work() -> Work | None:
    """Return the work that the running task does, for somebody who will end it; None when nobody wishes to know."""
    work = _WORK.get()
    if work is not None:
        work.is_handed_on = True
    return work


def leave_work() -> None:
    """From here on the running task works for nobody in particular."""
    _WORK.set(None)
    work_for(NOTHING)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """The block is a part of the work at hand, if there is any."""
    work = _WORK.get()
    if work is None:
        yield
    else:
        with work.phase(name):
            yield
