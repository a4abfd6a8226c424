"""Where spans go by file and environment, and what is said of mistakes in either."""

from pathlib import Path

import msgspec
import pytest

from cortex.contract.error import ConfigError
from cortex.kit.trace_setting import TraceSection, read_headers, trace_wish

URL = "http://collector:4318"


def test_without_an_endpoint_there_are_no_spans() -> None:
    assert trace_wish(TraceSection(), {}) is None
    assert trace_wish(TraceSection(sample_ratio=1.0), {"OTEL_TRACES_SAMPLER": "always_on"}) is None


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (URL, URL + "/v1/traces"),
        (URL + "/", URL + "/v1/traces"),
        (URL + "/otlp/v1/traces", URL + "/otlp/v1/traces"),
        (URL + "/?tenant=1", URL + "/?tenant=1"),
        ("https://[::1]:4318", "https://[::1]:4318/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(endpoint: str, url: str) -> None:
    wish = trace_wish(TraceSection(endpoint=endpoint), {})
    assert wish is not None
    assert (wish.url, wish.ratio, wish.headers, wish.is_asked) == (url, 1.0, {}, True)


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4318", "ftp://collector", "http://", "http://u:p@host", "http://a b", "grpc://x", "http://h:0"],
)
def test_what_is_no_url_is_told(endpoint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="endpoint: expected an http"):
        msgspec.convert({"endpoint": endpoint}, TraceSection)


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_share_is_between_nothing_and_all(ratio: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sample_ratio": ratio}, TraceSection)


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, URL + "/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL + "/base/"}, URL + "/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, URL),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL + "/own", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"},
            URL + "/own",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "otlp"}, URL + "/v1/traces"),
    ],
)
def test_the_environment_may_say_where_spans_go(env: dict[str, str], url: str) -> None:
    wish = trace_wish(TraceSection(), env)
    assert wish is not None
    assert (wish.url, wish.is_asked) == (url, False)
    own = trace_wish(TraceSection(endpoint="http://mine"), env)
    assert own is not None
    assert own.url == "http://mine/v1/traces", "what is in the file wins"


@pytest.mark.parametrize("env", [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "zipkin"}, {}])
def test_the_environment_may_say_that_there_are_none(env: dict[str, str]) -> None:
    assert trace_wish(TraceSection(), {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, **env} if env else {}) is None


def test_a_disabled_sdk_is_off_whatever_else_is_said() -> None:
    assert trace_wish(TraceSection(endpoint=URL), {"OTEL_SDK_DISABLED": "True"}) is None


@pytest.mark.parametrize(
    ("env", "ratio"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "somebodys_own", "OTEL_TRACES_SAMPLER_ARG": "x"}, 1.0),
    ],
)
def test_how_many_are_recorded_the_environment_may_say_too(env: dict[str, str], ratio: float) -> None:
    wish = trace_wish(TraceSection(endpoint=URL), env)
    assert wish is not None
    assert wish.ratio == ratio
    own = trace_wish(TraceSection(endpoint=URL, sample_ratio=0.5), env)
    assert own is not None
    assert own.ratio == 0.5


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "nowhere"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"},
    ],
)
def test_a_variable_that_cannot_be_used_is_named(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^OTEL_"):
        trace_wish(TraceSection(), env)


def test_headers_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# for the collector\n\nAuthorization: Bearer abc:def\nX-Tenant:lab\n")
    wish = trace_wish(TraceSection(endpoint=URL, headers_file=str(file)), {})
    assert wish is not None
    assert wish.headers == {"authorization": "Bearer abc:def", "x-tenant": "lab"}


@pytest.mark.parametrize(
    "text", ["secret-token", "name value secret-token", "a: b\nä: secret-token", "x: secret-token\x01"]
)
def test_an_error_in_a_file_of_headers_does_not_repeat_what_is_in_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"headers_file: .*headers, line \d: expected `name: value`") as caught:
        read_headers(str(file))
    assert "secret-token" not in caught.value.message


def test_a_file_of_headers_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read: No such file"):
        read_headers(str(tmp_path / "nowhere"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_headers(str(tmp_path / "bytes"))
