"""The metrics of a gateway, put together: what requests, decisions, the fleet and the event loop tell when asked.

Others add what they know with ``add``: a function that yields metrics, asked at every scrape.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric

from cortex import __version__
from cortex.gateway.control.assembly import Control
from cortex.gateway.data.decision_metric import DecisionMetrics
from cortex.gateway.data.fleet_metric import fleet_metrics, idle_places
from cortex.gateway.data.metric import RequestMetrics, gauge
from cortex.gateway.settings import GatewaySection
from cortex.kit.exposition import HistogramFamily
from cortex.kit.loop_lag import LoopLag

Source = Callable[[], Iterable[Metric]]


class GatewayMetrics:
    """``requests`` takes records and is the collector of everything."""

    def __init__(
        self,
        control: Control,
        section: GatewaySection,
        now_s: Callable[[], float],
        *,
        gateway_id: str,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """``settle``: have what is on its way to ``requests`` come in; called before it is read."""
        self.requests = RequestMetrics(self._collect, settle)
        self._control = control
        self._section = section
        self._gateway_id = gateway_id
        self._decided = DecisionMetrics(control.admin.callers)
        control.dispatcher.decisions.watch(self._decided.count)
        self._lag = LoopLag(now_s)
        self._sources: list[Source] = []

    def add(self, source: Source) -> None:
        """Ask ``source``, too, at every scrape."""
        self._sources.append(source)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look how late the loop is."""
        self._lag.start(loop)

    def stop(self) -> None:
        """Look no more."""
        self._lag.stop()

    def _collect(self) -> Iterator[Metric]:
        dispatcher, view = self._control.dispatcher, self._control.admin.view()
        about, idle = "Requests sent to an engine and not finished.", idle_places(view)
        in_flight = idle | {(model, node): float(count) for model, node, count in dispatcher.in_flight()}
        yield gauge("cortex_requests_in_flight", about, ("model", "node"), in_flight.items())
        yield gauge("cortex_requests_waiting", "Requests without a place.", (), [((), float(dispatcher.waiting()))])
        limit = [((), float(self._section.max_waiting))]
        yield gauge("cortex_queue_limit", "So many requests may wait for one model.", (), limit)
        loads = (((model, node), 1.0) for model, node in dispatcher.loads_under_way())
        yield gauge("cortex_loads_under_way", "Loads this gateway waits for.", ("model", "node"), loads)
        yield gauge("cortex_steward", "1: this gateway is the steward.", (), [((), float(self._control.is_steward))])
        yield from fleet_metrics(view)
        yield from self._decided.collect()
        yield from self._loop_lag()
        for source in self._sources:
            yield from source()
        yield gauge("cortex_gateway_info", "1.", ("version", "gateway_id"), [((__version__, self._gateway_id), 1.0)])

    def _loop_lag(self) -> Iterator[Metric]:
        about = "How late the event loop gets to what is due."
        family = HistogramFamily("cortex_event_loop_lag_seconds", about, labels=())
        family.add((), self._lag.histogram)
        yield family
        about = "The longest lag of the last minute."
        yield gauge("cortex_event_loop_lag_worst_seconds", about, (), [((), self._lag.worst_s())])
