"""Spans leave in batches from a thread, never hold up who leaves them there, and are counted when they are lost."""

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from cortex.kit.span import Span
from cortex.kit.span_export import BATCH, SpanExport
from cortex.kit.trace_context import TraceContext
from cortex.kit.tracer import Finished

LIMIT_S = 30.0


def span(number: int = 1) -> Span:
    context = TraceContext(1, number, True)
    return Span(name="x", kind="internal", context=context, parent=None, start_s=1.0, end_s=2.0, attributes={})


class Sender:
    """Takes batches, holds them while it is told to, and says what it is told to say."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.why_not = ""
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_asked = threading.Event()
        self.closes = 0
        self.changed = threading.Condition()

    def send(self, spans: Sequence[Span]) -> str:
        self.is_asked.set()
        self.may_go_on.wait(LIMIT_S)
        with self.changed:
            self.batches.append(len(spans))
            self.changed.notify_all()
        return self.why_not

    def give_up(self) -> None:
        assert not self.closes
        self.may_go_on.set()

    def close(self) -> None:
        self.closes += 1

    def until(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(self.batches) >= count, LIMIT_S)


@pytest.fixture
def sender() -> Iterator[Sender]:
    it = Sender()
    yield it
    it.may_go_on.set()


def test_what_waits_is_sent_together(sender: Sender) -> None:
    export = SpanExport(sender, gather_s=LIMIT_S)
    for number in range(BATCH):
        export.put(Finished((span(number + 1),)))
    sender.until(BATCH)
    export.close(LIMIT_S)
    assert sum(sender.batches) == BATCH
    assert len(sender.batches) < BATCH / 4
    assert (export.sent, export.dropped) == (BATCH, 0)


def test_a_few_are_sent_soon(sender: Sender) -> None:
    export = SpanExport(sender, gather_s=0.01)
    for number in range(3):
        export.put(Finished((span(),)))
        sender.until(number + 1)
    export.close(LIMIT_S)


def test_more_than_may_wait_are_lost_and_whoever_leaves_them_never_waits(sender: Sender) -> None:
    sender.may_go_on.clear()
    export = SpanExport(sender, max_waiting=5, gather_s=0.0)
    export.put(Finished((span(),)))
    assert sender.is_asked.wait(LIMIT_S)
    for _ in range(4):
        export.put(Finished((span(), span())))
    assert export.dropped == 4, "two sources of two spans fit"
    sender.may_go_on.set()
    export.close(LIMIT_S)
    assert (export.sent, export.dropped) == (5, 4)


def test_what_a_collector_does_not_take_is_counted_and_told_once(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    export = SpanExport(sender, gather_s=0.0)
    sender.why_not = "http://there: refused"
    for number in range(3):
        export.put(Finished((span(),)))
        sender.until(number + 1)
    sender.why_not = ""
    export.put(Finished((span(),)))
    sender.until(4)
    export.close(LIMIT_S)
    assert (export.sent, export.dropped) == (1, 3)
    assert caplog.messages == [
        "spans are lost, and counted, until the collector takes them: http://there: refused",
        "the collector takes spans again; 3 were lost",
    ]


def test_a_stop_sends_what_waits_and_gives_up_in_time(sender: Sender) -> None:
    sender.may_go_on.clear()
    export = SpanExport(sender, gather_s=LIMIT_S)
    export.put(Finished((span(),)))
    export.close(0.01)  # the sender goes on only when it is closed
    assert sender.closes == 1
    sender.until(1)
    export.put(Finished((span(),)))
    assert export.dropped == 1, "what comes after it is lost"
    export.close(LIMIT_S)
    assert sender.closes == 1


def test_a_defect_in_one_request_costs_it_its_spans_and_nobody_else(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(Finished):
        def spans(self) -> list[Span]:
            raise ValueError("a defect")

    export = SpanExport(sender, gather_s=LIMIT_S)
    export.put(Bad((span(), span())))
    export.put(Finished((span(),)))
    export.close(LIMIT_S)
    assert (export.sent, export.dropped) == (1, 2)
    assert "making spans" in caplog.text
