"""Traces begin here or are continued, and are told only where that is wished and can be done."""

import subprocess
import sys
import threading
from random import Random

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.span import Span, SpanSource
from cortex.kit.trace_context import TraceContext
from cortex.kit.trace_setting import TraceSection
from cortex.kit.tracer import Finished, Tracer, check_trace, open_tracer
from cortex.testing.virtual_clock import VirtualClock

URL = "http://127.0.0.1:1"


class Kept:
    """Stands in for ``SpanExport``: keeps what is left there."""

    sent = 3
    dropped = 2

    def __init__(self) -> None:
        self.sources: list[SpanSource] = []
        self.is_closed = False

    def put(self, source: SpanSource) -> None:
        self.sources.append(source)

    def close(self, _: float) -> None:
        self.is_closed = True

    def spans(self) -> list[Span]:
        return [span for source in self.sources for span in source.spans()]


def a_tracer(kept: Kept, ratio: float = 1.0, clock: VirtualClock | None = None) -> Tracer:
    return Tracer(kept, ratio, clock or VirtualClock(), Random(1))  # type: ignore[arg-type]


def opened(section: TraceSection, env: dict[str, str]) -> Tracer | None:
    return open_tracer(section, env, service="s", instance="i", clock=VirtualClock(), rng=Random(1))


def test_a_new_trace_has_ids_of_its_own_and_is_recorded_as_wished() -> None:
    for ratio, is_recorded in ((1.0, True), (0.0, False)):
        tracer = a_tracer(Kept(), ratio)
        one, other = tracer.context(None), tracer.context(None)
        assert one.is_sampled is is_recorded
        assert len({one.trace_id, other.trace_id}) == 2
        assert len({one.span_id, other.span_id, tracer.new_span_id()}) == 3


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_trace_of_somebody_else_is_recorded_as_they_do(is_sampled: bool) -> None:
    parent = TraceContext(7, 8, is_sampled, b"a=1")
    for ratio in (0.0, 1.0):
        context = a_tracer(Kept(), ratio).context(parent)
        assert (context.trace_id, context.is_sampled, context.state) == (7, is_sampled, b"a=1")
        assert context.span_id != 8


def test_a_single_span_is_told_where_it_is_recorded() -> None:
    kept = Kept()
    tracer = a_tracer(kept)
    for is_sampled in (True, False):
        context = TraceContext(1, 2, is_sampled)
        tracer.put_span(
            Span(name="x", kind="internal", context=context, parent=None, start_s=1, end_s=2, attributes={})
        )
    assert [span.context.is_sampled for span in kept.spans()] == [True]
    assert kept.sources[0].span_count() == 1
    assert (tracer.sent, tracer.dropped) == (3, 2)


def test_spans_that_are_made_are_as_they_were() -> None:
    assert Finished(()).spans() == []


def test_without_a_wish_there_is_no_tracer() -> None:
    assert opened(TraceSection(), {}) is None


def test_where_no_spans_are_wished_nothing_of_opentelemetry_is_imported() -> None:
    said = "import sys, cortex.gateway.app, cortex.neuron.app; print([m for m in sys.modules if 'opentelemetry' in m])"
    assert subprocess.check_output([sys.executable, "-c", said], text=True).strip() == "[]"


def test_a_missing_extra_is_told_where_the_settings_ask_for_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cortex.kit.otlp", None)
    with pytest.raises(ConfigError, match=r"\[trace\] endpoint: .*the extra \"trace\" has it: pip install 'cortex-gat"):
        opened(TraceSection(endpoint=URL), {})
    with pytest.raises(ConfigError, match="trace"):
        check_trace(TraceSection(endpoint=URL), {})


def test_a_missing_extra_is_only_said_where_the_environment_asks_for_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cortex.kit.otlp", None)
    assert opened(TraceSection(), {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}) is None
    assert 'the extra "trace" has it' in caplog.text
    check_trace(TraceSection(), {"OTEL_EXPORTER_OTLP_ENDPOINT": URL})


def test_a_check_opens_nothing() -> None:
    before = threading.active_count()
    check_trace(TraceSection(endpoint=URL), {})
    check_trace(TraceSection(), {})
    assert threading.active_count() == before
    with pytest.raises(ConfigError, match="headers_file"):
        check_trace(TraceSection(endpoint=URL, headers_file="/nowhere"), {})
