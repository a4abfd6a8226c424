"""Request metrics in Prometheus' format: the gateway's own names, and OpenTelemetry's for generative AI beside them.

Written once per request into plain counters, put together when they are asked for. A model that nobody knows counts as
``model="unknown"``, a request that reached no node as ``node=""``. Tokens that an engine did not tell are not counted.
No label has a value that a caller made up: each has as many as there are models, nodes, keys and codes.

Source of the ``gen_ai_*`` names and bounds: OpenTelemetry semantic conventions for generative AI (May 2026); the upper
bounds are extended, because a cold start takes minutes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cortex.gateway.data.key_metric import KeyMetrics
from cortex.gateway.data.record import RequestRecord
from cortex.kit.exposition import HistogramFamily
from cortex.kit.histogram import Histogram, summed

DURATION_S = tuple(0.01 * 2**step for step in range(18))
FIRST_TOKEN_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300)
TOKEN_GAP_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
TOKENS = tuple(4**step for step in range(14))
OVERHEAD_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
TOKENS_PER_S = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000)

NOT_OK = frozenset(("engine_error", "failed", "refused", "client_gone"))
"""Outcomes that are told apart by ``error_type``; what they took is no successful request's duration."""

CUT_BY = {"client_gone": "client", "failed": "engine"}
"""Who broke off a stream that had begun, by the request's outcome."""

Gauges = Callable[[], Iterable[Metric]]


class SeriesKey(NamedTuple):
    """What is counted apart. ``error``: the error's code, empty for none. ``is_fault``: it was not the caller's."""

    model: str
    node: str
    operation: str
    error: str
    is_fault: bool


class _Series:
    """The counts of one key."""

    __slots__ = (
        *("cold", "completion", "cut", "duration", "first_token", "gap"),
        *("prompt", "received_bytes", "requests", "sent_bytes", "speed"),
    )

    def __init__(self) -> None:
        self.requests = 0
        self.cold = 0
        self.cut: dict[str, int] = {}
        """Streams that broke off, by who did it."""
        self.received_bytes = self.sent_bytes = 0
        self.duration = Histogram(DURATION_S)
        self.first_token = Histogram(FIRST_TOKEN_S)
        self.gap = Histogram(TOKEN_GAP_S)
        self.speed = Histogram(TOKENS_PER_S)
        self.prompt = Histogram(TOKENS)
        self.completion = Histogram(TOKENS)


class RequestMetrics:
    """Counts records; a Prometheus collector over them. ``gauges`` adds what others know at the moment.

    ``settle``: have come in what is on its way here.
    """

    def __init__(self, gauges: Gauges = tuple, settle: Callable[[], None] = lambda: None) -> None:
        self._series: defaultdict[tuple[str, str, str, str, bool], _Series] = defaultdict(_Series)
        self._request_half = Histogram(OVERHEAD_S)
        self._response_half = Histogram(OVERHEAD_S)
        self._keys = KeyMetrics()
        self._gauges = gauges
        self._settle = settle

    def record(self, record: RequestRecord) -> None:
        """Count one request, and each attempt at it that failed before, where it failed."""
        error, is_fault = "", False
        if record.outcome in NOT_OK:
            error = record.error or record.outcome
            is_fault = record.outcome == "failed" or record.status >= 500
        series = self._series[(record.model or "unknown", record.node, record.path, error, is_fault)]
        series.requests += 1
        if record.cold_start:
            series.cold += 1
        series.received_bytes += record.request_bytes
        series.sent_bytes += record.response_bytes
        series.duration.observe(record.total_latency_ms * 1e-3)
        if record.request_overhead_ms is not None:
            self._request_half.observe(record.request_overhead_ms * 1e-3)
        if record.response_overhead_ms is not None:
            self._response_half.observe(record.response_overhead_ms * 1e-3)
        if record.prompt_tokens is not None:
            series.prompt.observe(record.prompt_tokens)
        if record.completion_tokens is not None:
            series.completion.observe(record.completion_tokens)
        if record.time_to_first_token_ms is not None:
            series.first_token.observe(record.time_to_first_token_ms * 1e-3)
            if error and (by := CUT_BY.get(record.outcome)):
                series.cut[by] = series.cut.get(by, 0) + 1
        speed = record.tok_per_sec
        if speed:
            series.speed.observe(speed)
            if record.is_stream:
                series.gap.observe(1 / speed)
        if record.key:
            self._keys.count(record)

        for node, code in record.lost:
            self._series[(record.model or "unknown", node, record.path, code, True)].requests += 1

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        self._settle()
        by_place: defaultdict[tuple[str, str], list[tuple[SeriesKey, _Series]]] = defaultdict(list)
        for key, series in self._series.items():
            named = SeriesKey(*key)
            by_place[named.model, named.node].append((named, series))
        yield from _counters(by_place)
        yield from _histograms(by_place)
        yield from _relayed(by_place)
        yield self._overhead()
        yield from self._keys.collect()
        yield from _generative([(SeriesKey(*key), series) for key, series in self._series.items()])
        yield from self._gauges()

    def _overhead(self) -> Metric:
        about = "What this gateway itself took of a request's time."
        family = HistogramFamily("cortex_gateway_overhead_seconds", about, labels=("half",))
        _add(family, ("request",), [self._request_half])
        _add(family, ("response",), [self._response_half])
        return family


_ByPlace = defaultdict[tuple[str, str], list[tuple[SeriesKey, _Series]]]
_PLACE = ("model", "node")


def _counters(by_place: _ByPlace) -> Iterator[Metric]:
    requests = CounterMetricFamily("cortex_requests", "Requests, whatever became of them.", labels=_PLACE)
    errors = CounterMetricFamily(
        "cortex_request_errors", "Requests that failed by no fault of the caller.", labels=_PLACE
    )
    cold = CounterMetricFamily("cortex_cold_starts", "Requests that waited for a load.", labels=_PLACE)
    prompt = CounterMetricFamily("cortex_prompt_tokens", "Prompt tokens that engines reported.", labels=_PLACE)
    completion = CounterMetricFamily("cortex_completion_tokens", "Tokens that engines generated.", labels=_PLACE)
    for place, found in by_place.items():
        requests.add_metric(place, sum(series.requests for _, series in found))
        errors.add_metric(place, sum(series.requests for key, series in found if key.is_fault))
        cold.add_metric(place, sum(series.cold for _, series in found))
        prompt.add_metric(place, sum(series.prompt.total for _, series in found))
        completion.add_metric(place, sum(series.completion.total for _, series in found))
    yield from (requests, errors, cold, prompt, completion)


def _relayed(by_place: _ByPlace) -> Iterator[Metric]:
    about = "Bytes of requests' and answers' bodies that passed through."
    relayed = CounterMetricFamily("cortex_relayed_bytes", about, labels=(*_PLACE, "direction"))
    about = "Streams that broke off after their first content."
    cut = CounterMetricFamily("cortex_stream_aborts", about, labels=(*_PLACE, "by"))
    for place, found in by_place.items():
        relayed.add_metric((*place, "request"), sum(series.received_bytes for _, series in found))
        relayed.add_metric((*place, "response"), sum(series.sent_bytes for _, series in found))
        for by in CUT_BY.values():
            cut.add_metric((*place, by), sum(series.cut.get(by, 0) for _, series in found))
    yield from (relayed, cut)


def _histograms(by_place: _ByPlace) -> Iterator[Metric]:
    duration = HistogramFamily(
        "cortex_request_duration_seconds", "From arrival to the last byte, of successful requests.", labels=_PLACE
    )
    first = HistogramFamily(
        "cortex_time_to_first_token_seconds", "From arrival to the first content of a stream.", labels=_PLACE
    )
    speed = HistogramFamily("cortex_tokens_per_second", "Speed of generation, per request.", labels=_PLACE)
    for place, found in by_place.items():
        _add(duration, place, [series.duration for key, series in found if not key.error])
        _add(first, place, [series.first_token for _, series in found])
        _add(speed, place, [series.speed for _, series in found])
    yield from (duration, first, speed)


def _generative(found: list[tuple[SeriesKey, _Series]]) -> Iterator[Metric]:
    labels = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
    about = "OpenTelemetry, semantic conventions for generative AI."
    duration = HistogramFamily("gen_ai_server_request_duration_seconds", about, labels=labels)
    first = HistogramFamily("gen_ai_server_time_to_first_token_seconds", about, labels=labels)
    gap = HistogramFamily("gen_ai_server_time_per_output_token_seconds", about, labels=labels)
    usage = HistogramFamily("gen_ai_client_token_usage", about, labels=(*labels[:3], "gen_ai_token_type"))
    by_kind: defaultdict[tuple[str, ...], list[_Series]] = defaultdict(list)
    by_model: defaultdict[tuple[str, ...], list[_Series]] = defaultdict(list)
    for key, series in found:
        by_kind[key.operation, "cortex", key.model, key.error].append(series)
        by_model[key.operation, "cortex", key.model].append(series)
    for kind, group in by_kind.items():
        _add(duration, kind, [series.duration for series in group])
        _add(first, kind, [series.first_token for series in group])
        _add(gap, kind, [series.gap for series in group])
    for model, group in by_model.items():
        _add(usage, (*model, "input"), [series.prompt for series in group])
        _add(usage, (*model, "output"), [series.completion for series in group])
    yield from (duration, first, gap, usage)


def _add(family: HistogramFamily, labels: Iterable[str], histograms: list[Histogram]) -> None:
    """Add a sum to a family, unless nothing was ever observed."""
    seen = [histogram for histogram in histograms if histogram.count]
    if seen:
        family.add(tuple(labels), seen[0] if len(seen) == 1 else summed(seen))


def gauge(name: str, about: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Return a gauge with its values."""
    family = GaugeMetricFamily(name, about, labels=labels)
    for place, value in values:
        family.add_metric(place, value)
    return family
