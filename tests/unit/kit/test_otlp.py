"""Spans as a collector gets them: decoded by the messages of OpenTelemetry's own package."""

import logging
from collections.abc import Iterator

import pytest
from tests.collector import Collector, collector
from tests.port import free_port

from cortex.kit.otlp import OtlpSender
from cortex.kit.span import Span
from cortex.kit.trace_context import TraceContext

CONTEXT = TraceContext(0xABC, 0xDEF, True, b"lab=1")
RESOURCE = {"service.name": "cortex-gateway", "service.instance.id": "g1"}


@pytest.fixture
def seen() -> Iterator[Collector]:
    with collector() as it:
        yield it


def a_span(**keys: object) -> Span:
    plain = {"name": "x", "kind": "server", "context": CONTEXT, "parent": None, "start_s": 1.5, "end_s": 2.25}
    return Span(**{**plain, "attributes": {"n": 1, "f": 0.5, "t": "text", "b": True}, **keys})  # type: ignore[arg-type]


def test_a_span_arrives_as_it_was(seen: Collector) -> None:
    sender = OtlpSender(seen.url + "/v1/traces", {"authorization": "Bearer secret"}, RESOURCE)
    parent = TraceContext(0xABC, 0x123, True)
    assert sender.send([a_span(), a_span(kind="client", parent=parent, error="upstream_broken")]) == ""
    sender.give_up()
    sender.close()
    first, second = seen.spans
    assert (first.name, first.kind, first.state) == ("x", "server", "lab=1")
    assert (first.trace_id, first.span_id, first.parent_id) == (f"{0xABC:032x}", f"{0xDEF:016x}", "")
    assert (first.start_ns, first.end_ns) == (1_500_000_000, 2_250_000_000)
    assert first.attributes == {"n": 1, "f": 0.5, "t": "text", "b": True}
    assert not first.is_error
    assert (second.kind, second.parent_id, second.is_error) == ("client", f"{0x123:016x}", True)
    assert second.attributes["error.type"] == "upstream_broken"
    assert first.resource.items() >= RESOURCE.items()
    assert seen.headers[0]["authorization"] == "Bearer secret"
    assert seen.headers[0]["content-type"] == "application/x-protobuf"


def test_what_the_operator_says_of_the_resource_wins(seen: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "inference")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab,service.instance.id=mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=lab")
    sender = OtlpSender(seen.url + "/v1/traces", {}, RESOURCE)
    assert sender.send([a_span()]) == ""
    sender.give_up()
    sender.close()
    resource = seen.spans[0].resource
    assert (resource["service.name"], resource["service.instance.id"]) == ("inference", "mine")
    assert resource["deployment.environment.name"] == "lab"
    assert seen.headers[0]["x-tenant"] == "lab"


def test_a_collector_that_refuses_is_told_and_the_log_stays_quiet(
    seen: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "opentelemetry")
    seen.status = 401
    sender = OtlpSender(seen.url + "/v1/traces", {"authorization": "Bearer secret"}, RESOURCE)
    why = sender.send([a_span()])
    sender.give_up()
    sender.close()
    assert why.startswith(seen.url)
    assert "401" in why
    assert "secret" not in why
    assert caplog.text == ""


def test_a_collector_that_sends_elsewhere_has_taken_nothing(seen: Collector) -> None:
    """As one does behind a proxy that wants https; what follows the redirection is no delivery."""
    seen.status = 302
    sender = OtlpSender(seen.url + "/v1/traces", {}, RESOURCE)
    why = sender.send([a_span()])
    sender.give_up()
    sender.close()
    assert "302" in why
    assert "endpoint" in why
    assert seen.spans == []
    assert len(seen.headers) == 1


def test_nobody_there_is_given_up_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    sender = OtlpSender(f"http://127.0.0.1:{free_port()}/v1/traces", {}, RESOURCE)
    sender.give_up()
    assert sender.send([a_span()]) != ""
    sender.close()


def test_afterwards_the_library_speaks_for_itself_again() -> None:
    logger = logging.getLogger("opentelemetry.exporter")
    one, other = (OtlpSender("http://127.0.0.1:1/v1/traces", {}, RESOURCE) for _ in range(2))
    one.give_up()
    one.close()
    assert not logger.propagate
    other.give_up()
    other.close()
    assert logger.propagate
    assert logger.handlers == []
