"""A gateway's tracing, opened and closed; its figures are there only with it."""

import asyncio

import pytest
from tests.collector import collector

from cortex.gateway.trace_opening import GatewayTracing
from cortex.kit.span import Span
from cortex.kit.trace_context import TraceContext
from cortex.kit.trace_setting import TraceSection
from cortex.testing.virtual_clock import VirtualClock


def test_without_a_wish_there_is_nothing() -> None:
    tracing = GatewayTracing(TraceSection(), {}, "g1", VirtualClock())
    assert tracing.tracer is None
    assert list(tracing.collect()) == []
    asyncio.run(tracing.close())


@pytest.mark.parametrize("status", [200, 400])
def test_what_was_sent_and_what_was_lost_is_counted(status: int) -> None:
    with collector() as seen:
        seen.status = status
        tracing = GatewayTracing(TraceSection(endpoint=seen.url), {}, "g1", VirtualClock())
        assert tracing.tracer is not None
        context = TraceContext(1, 2, True)
        tracing.tracer.put_span(
            Span(name="x", kind="server", context=context, parent=None, start_s=1, end_s=2, attributes={})
        )
        asyncio.run(tracing.close())
        values = {sample.name: sample.value for family in tracing.collect() for sample in family.samples}
    is_taken = status == 200
    assert values == {"cortex_spans_sent_total": is_taken, "cortex_spans_dropped_total": not is_taken}
    assert [span.resource["service.name"] for span in seen.spans] == ["cortex-gateway"] * is_taken
