"""The door for scrapers: one page, in the format they ask for."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from tests.unit.gateway.data.rig import Answer, Client

from cortex.gateway.data.access import Access
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.metric import gauge
from cortex.gateway.data.metrics_page import MetricsRouter


class Fixed:
    """Collects one gauge."""

    def collect(self) -> Iterator[Metric]:
        yield gauge("cortex_x", "X.", (), [((), 7.0)])


def scrape(
    path: bytes = b"/metrics",
    method: bytes = b"GET",
    accept: bytes | None = None,
    peer: str = "10.0.0.9",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    client = Client(peer)
    headers = [*more] if accept is None else [(b"accept", accept)]
    client.exchange = Exchange(client, method, path, b"", headers)  # type: ignore[arg-type]
    client.exchange.handler = MetricsRouter(Fixed(), Access(["10.0.0.0/8"], []))(client.exchange)
    client.end()
    assert client.ended == 1
    return client.answer


def test_a_scrape_is_in_prometheus_format_and_has_the_process_in_it() -> None:
    answer = scrape()
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in parse(answer.body.decode())}
    assert families["cortex_x"].samples[0].value == 7
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info", "python_gc_collections"} <= set(
        families
    )


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    answer = scrape(accept=b"application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")
    assert "cortex_x" in {family.name for family in parse_openmetrics(answer.body.decode())}


def test_there_is_nothing_else() -> None:
    assert scrape(b"/").status == 404
    assert scrape(b"/v1/models").error["code"] == "path_not_found"
    assert scrape(method=b"POST").status == 405


def test_strangers_see_nothing() -> None:
    assert scrape(peer="8.8.8.8").status == 403


def test_a_browser_under_a_name_that_anybody_can_have_sees_nothing() -> None:
    headers = ((b"host", b"evil.example:9100"), (b"user-agent", b"Mozilla/5.0"))
    assert scrape(more=headers).status == 403
    assert scrape(more=((b"host", b"evil.example:9100"), (b"user-agent", b"Prometheus/3.5"))).status == 200
