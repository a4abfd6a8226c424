"""An OpenTelemetry collector for tests: takes spans by OTLP over HTTP, on a free port of loopback, and keeps them."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LIMIT_S = 30.0
KINDS = {1: "internal", 2: "server", 3: "client"}


class Seen(NamedTuple):
    """One span, as it came."""

    service: str
    resource: dict[str, Any]
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    is_error: bool


class Collector:
    """What was collected; ``status``: what senders are answered."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.raw = b""
        self.status = 200
        self.url = ""
        self._changed = threading.Condition()

    def until(self, is_so: Callable[[Sequence[Seen]], bool]) -> list[Seen]:
        """Return what was collected as soon as it is as it should be."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self.spans), LIMIT_S), [span.name for span in self.spans]
            return list(self.spans)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Take one request; return its status."""
        with self._changed:
            self.headers.append(headers)
            if self.status != 200 or path != "/v1/traces":
                self._changed.notify_all()
                return self.status if path == "/v1/traces" else 404
            self.raw += body
            self.spans += _decoded(body)
            self._changed.notify_all()
            return 200


def tree_of(spans: Sequence[Seen], trace_id: str) -> dict[str, list[str]]:
    """Return by every span's name, with its parents' before it, whose they are; of one trace."""
    mine = {span.span_id: span for span in spans if span.trace_id == trace_id}

    def path(span: Seen) -> str:
        parent = mine.get(span.parent_id)
        return f"{span.service}:{span.name}" if parent is None else f"{path(parent)} > {span.service}:{span.name}"

    found: dict[str, list[str]] = {}
    for span in mine.values():
        found.setdefault(path(span), []).append(span.span_id)
    return found


def not_nested(spans: Sequence[Seen]) -> list[str]:
    """Return the spans that are not within their parents; across processes half a second of clocks is forgiven."""
    by_id = {span.span_id: span for span in spans}
    wrong = []
    for span in spans:
        parent = by_id.get(span.parent_id)
        if parent is not None:
            slack_ns = 0 if parent.service == span.service else 500_000_000
            if not parent.start_ns - slack_ns <= span.start_ns <= span.end_ns <= parent.end_ns + slack_ns:
                wrong.append(f"{span.name} in {parent.name}")
    return wrong


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Run one."""
    it = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(it.take(self.path, headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _decoded(body: bytes) -> Iterator[Seen]:
    message = ExportTraceServiceRequest()
    message.ParseFromString(body)
    for group in message.resource_spans:
        resource = {pair.key: _value(pair.value) for pair in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Seen(
                    service=str(resource.get("service.name", "")).removeprefix("cortex-"),
                    resource=resource,
                    name=span.name,
                    kind=KINDS[span.kind],
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    state=span.trace_state,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes={pair.key: _value(pair.value) for pair in span.attributes},
                    is_error=span.status.code == 2,
                )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
