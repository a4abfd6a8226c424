"""The tracing of a gateway, put together: its tracer, where spans are wished, and what metrics say of them."""

from collections.abc import Iterator, Mapping
from random import Random

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.kit.clock import Clock
from cortex.kit.trace_setting import TraceSection
from cortex.kit.tracer import open_tracer


class GatewayTracing:
    """``tracer``: None where no spans are wished. Raises: ConfigError."""

    def __init__(self, section: TraceSection, env: Mapping[str, str], gateway_id: str, clock: Clock) -> None:
        rng = Random()  # of its own: what is decided elsewhere must not depend on whether it is traced
        self.tracer = open_tracer(section, env, service="cortex-gateway", instance=gateway_id, clock=clock, rng=rng)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, where there is anything to count."""
        tracer = self.tracer
        if tracer is not None:
            yield CounterMetricFamily("cortex_spans_sent", "Spans that the collector has taken.", value=tracer.sent)
            yield CounterMetricFamily("cortex_spans_dropped", "Spans that were lost.", value=tracer.dropped)

    async def close(self) -> None:
        """Send what is not sent yet, within a limit."""
        if self.tracer is not None:
            await self.tracer.close()
