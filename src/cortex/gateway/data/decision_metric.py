"""What was decided, counted for Prometheus: loads, evictions, refusals, and how long requests waited for a place.

Told of every decision, also of those that are not kept; bounds fit cold starts, which take seconds to many minutes.
Codes come from neurons, which may be newer or ill: only so many of them get a label of their own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.contract.admin import CallerEntry
from cortex.fleet.decision import Decision
from cortex.kit.exposition import HistogramFamily
from cortex.kit.histogram import Histogram

LOAD_S = (1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200)
WAIT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

LOAD_OUTCOMES = {"load": "loaded", "failure": "failed", "deferral": "put_off"}

MAX_CODES = 64
OTHERS = "other"
_CODE = re.compile(r"[a-z0-9_]{1,48}")

Key = tuple[str, ...]


class DecisionMetrics:
    """Counts decisions. ``callers``: what each of them has cost."""

    def __init__(self, callers: Callable[[], Iterable[CallerEntry]]) -> None:
        self._callers = callers
        self._loads: defaultdict[Key, int] = defaultdict(int)
        self._failures: defaultdict[Key, int] = defaultdict(int)
        self._evictions: defaultdict[Key, int] = defaultdict(int)
        self._unloads: defaultdict[Key, int] = defaultdict(int)
        self._refusals: defaultdict[Key, int] = defaultdict(int)
        self._load_s: defaultdict[Key, Histogram] = defaultdict(lambda: Histogram(LOAD_S))
        self._cold_s: defaultdict[Key, Histogram] = defaultdict(lambda: Histogram(LOAD_S))
        self._queue_s: defaultdict[Key, Histogram] = defaultdict(lambda: Histogram(WAIT_S))
        self._codes: set[str] = set()

    def count(self, decision: Decision) -> None:
        """Count one decision."""
        kind, details, where = decision.kind, decision.details, (decision.model, decision.node)
        if kind == "grant-queued":
            _observe(self._queue_s[where], details.get("waited_s"))
        elif kind == "grant-cold":
            _observe(self._cold_s[where], details.get("waited_s"))
        elif kind in LOAD_OUTCOMES and decision.model:
            self._loads[(*where, LOAD_OUTCOMES[kind])] += 1
            if kind == "load":
                _observe(self._load_s[where], details.get("took_s"))
            elif kind == "failure":
                self._failures[(*where, self._code(details.get("code")))] += 1
        elif kind == "eviction":
            self._evictions[(*where, self._code(details.get("why")))] += 1
        elif kind == "unload":
            self._unloads[(*where, self._code(details.get("why") or decision.caller))] += 1
        elif kind == "refusal":
            self._refusals[(decision.model or "unknown", self._code(details.get("code")))] += 1

    def _code(self, said: object) -> str:
        """Return what a code is counted as."""
        code = str(said or "")
        if code not in self._codes:
            if len(self._codes) >= MAX_CODES or not _CODE.fullmatch(code):
                return OTHERS
            self._codes.add(code)
        return code

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        place = ("model", "node")
        loads = CounterMetricFamily("cortex_loads", "Loads that were asked for.", labels=(*place, "outcome"))
        yield _counted(loads, self._loads)
        failures = CounterMetricFamily("cortex_load_failures", "Loads that failed.", labels=(*place, "cause"))
        yield _counted(failures, self._failures)
        evictions = CounterMetricFamily("cortex_evictions", "Evictions for a load.", labels=(*place, "reason"))
        yield _counted(evictions, self._evictions)
        unloads = CounterMetricFamily("cortex_unloads", "Unloads for no load.", labels=(*place, "reason"))
        yield _counted(unloads, self._unloads)
        refusals = CounterMetricFamily("cortex_refusals", "Requests without a place.", labels=("model", "reason"))
        yield _counted(refusals, self._refusals)
        load = HistogramFamily("cortex_load_seconds", "How long loads took.", labels=place)
        yield _observed(load, self._load_s)
        cold = HistogramFamily("cortex_cold_start_seconds", "Waits of requests for a load.", labels=place)
        yield _observed(cold, self._cold_s)
        queue = HistogramFamily("cortex_queue_wait_seconds", "Waits of requests for a slot.", labels=place)
        yield _observed(queue, self._queue_s)
        yield from self._costs()

    def _costs(self) -> Iterator[Metric]:
        label = ("caller",)
        loads = CounterMetricFamily("cortex_caller_loads", "Loads for a caller's requests.", labels=label)
        evictions = CounterMetricFamily("cortex_caller_evictions", "Evictions for them.", labels=label)
        loading = CounterMetricFamily(
            "cortex_caller_loading_seconds", "Time that devices loaded for them.", labels=label
        )
        for entry in self._callers():
            loads.add_metric((entry.caller,), entry.loads)
            evictions.add_metric((entry.caller,), entry.evictions)
            loading.add_metric((entry.caller,), entry.loading_s)
        yield from (loads, evictions, loading)


def _observe(histogram: Histogram, value: object) -> None:
    if isinstance(value, int | float):
        histogram.observe(value)


def _counted(family: CounterMetricFamily, counts: dict[Key, int]) -> Metric:
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


def _observed(family: HistogramFamily, histograms: dict[Key, Histogram]) -> Metric:
    for key, histogram in histograms.items():
        family.add(key, histogram)
    return family
