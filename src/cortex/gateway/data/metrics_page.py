"""The metrics door: ``GET /metrics`` in the format that the scraper asks for, and nothing else."""

from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from cortex.contract.error import CallerError, MethodNotAllowed, PathNotFound
from cortex.gateway.data.access import Access
from cortex.gateway.data.browser_rule import BrowserRule
from cortex.gateway.data.page import Answer, Page, failing
from cortex.kit.exposition import exposition

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange


class MetricsRouter:
    """Answers scrapes with everything in a registry of its own: our collector and the process's."""

    def __init__(self, collector: Collector, access: Access, browser: BrowserRule | None = None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(collector)
        for of_process in (ProcessCollector, PlatformCollector, GCCollector):
            of_process(registry=self.registry)
        self._access = access
        self._browser = browser or BrowserRule()

    def __call__(self, exchange: "Exchange") -> Page:
        try:
            self._access.check(exchange.connection.peer, exchange.headers)
            self._browser.check_host(exchange)
            if exchange.path != b"/metrics":
                raise PathNotFound("There is nothing here but GET /metrics.")
            if exchange.method not in (b"GET", b"HEAD"):
                raise MethodNotAllowed("/metrics takes GET.", allowed="GET, HEAD")
        except CallerError as error:
            return Page(exchange, failing(error), b"-")
        return Page(exchange, partial(self._scrape, (exchange.header(b"accept") or b"").decode("latin-1")), b"-")

    def _scrape(self, accept: str) -> Answer:
        body, content_type = exposition(self.registry, accept)
        return Answer(200, body, b"content-type: %b\r\n" % content_type.encode())
