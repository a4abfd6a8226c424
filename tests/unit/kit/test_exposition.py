"""What a scraper reads is what the library would have written, in both formats."""

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.registry import Collector

from cortex.kit.exposition import HistogramFamily, exposition
from cortex.kit.histogram import Histogram

TEXT, OPEN = "", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
ODD = 'a"b\\c\nd, é {}'


class Some(Collector):
    """Collects what it is given."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def histogram(*values: float) -> Histogram:
    found = Histogram((0.001, 0.5, 1, 30))
    for value in values:
        found.observe(value)
    return found


def everything() -> CollectorRegistry:
    counter = CounterMetricFamily("x_requests", 'Requests, "all" of them\\.', labels=("model", "node"))
    counter.add_metric(("m", ""), 3)
    counter.add_metric((ODD, "n"), 1e20)
    level = GaugeMetricFamily("x_level", "Level.", labels=("model",))
    for value in (0, -1.5, float("inf"), float("-inf"), 1e-9):
        level.add_metric((f"m{value}",), value)
    bare = GaugeMetricFamily("x_bare", "No labels.", value=7)
    waits = HistogramFamily("x_wait_seconds", "Waits.", labels=("model",))
    waits.add(("m",), histogram(0.0005, 0.5, 20, 100))
    waits.add((ODD,), histogram())
    lag = HistogramFamily("x_lag_seconds", "Lag.", labels=())
    lag.add((), histogram(2, 3))
    about = InfoMetricFamily("x_build", "What is not ours to write.", value={"version": "1"})
    registry = CollectorRegistry()
    registry.register(Some(counter, level, bare, waits, lag, about))
    return registry


def read(body: bytes, accept: str) -> dict[str, tuple[str, str, list[tuple[str, tuple[tuple[str, str], ...], float]]]]:
    families = (parse_openmetrics if accept is OPEN else parse)(body.decode())
    return {
        one.name: (
            one.type,
            one.documentation,
            [(s.name, tuple(sorted(s.labels.items())), s.value) for s in one.samples],
        )
        for one in families
    }


@pytest.mark.parametrize("accept", [TEXT, OPEN], ids=["text", "openmetrics"])
def test_it_reads_as_what_the_library_writes(accept: str) -> None:
    registry = everything()
    encode, content_type = choose_encoder(accept)
    body, said = exposition(registry, accept)
    assert said == content_type
    assert read(body, accept) == read(encode(registry), accept)
    assert body.endswith(b"# EOF\n") == (accept is OPEN)
    assert body.count(b"# EOF") == (accept is OPEN)


def test_what_is_not_a_number_is_told_as_such() -> None:
    registry = CollectorRegistry()
    registry.register(Some(GaugeMetricFamily("x", "X.", value=float("nan"))))
    assert exposition(registry, TEXT)[0].endswith(b"\nx NaN\n")


@pytest.mark.parametrize("accept", [TEXT, OPEN], ids=["text", "openmetrics"])
def test_what_the_library_tells_of_the_process_is_there(accept: str) -> None:
    registry = CollectorRegistry()
    for of_process in (ProcessCollector, PlatformCollector, GCCollector):
        of_process(registry=registry)
    found = read(exposition(registry, accept)[0], accept)
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_info", "python_gc_collections"} <= set(
        found
    )


def test_a_scrape_costs_no_more_lines_than_there_are_samples() -> None:
    body = exposition(everything(), TEXT)[0].decode()
    samples = [line for line in body.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples)) == 2 + 5 + 1 + 2 * 7 + 7 + 1
