"""``[trace]``: where spans go and how many of them; of OpenTelemetry's own variables those that say the same.

Says what is wished, not how it is done. What is in the file wins over the variables. The exporter reads the others of
its variables itself: ``OTEL_EXPORTER_OTLP_HEADERS``, ``…_CERTIFICATE``, ``…_CLIENT_KEY``, ``…_TIMEOUT``,
``…_COMPRESSION``, ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``.
"""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from cortex.contract.error import ConfigError
from cortex.kit.plain_file import read_plain

TRACES_PATH = "/v1/traces"
"""Where a collector takes spans, by OTLP's specification."""

_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*:\s*([\x20-\x7e]*)")


class TraceSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[trace]``: spans of requests, to an OpenTelemetry collector."""

    endpoint: str | None = None
    """The collector's URL for OTLP over HTTP; /v1/traces is added to one without a path. Default: no spans."""
    sample_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of the requests that are recorded, 0 to 1, unless their caller has decided that. Default: all."""
    headers_file: str | None = None
    """Holds headers for the collector, ``name: value`` on each line; a relative path starts at the config file."""

    def __post_init__(self) -> None:
        if self.endpoint is not None and not _is_url(self.endpoint):
            raise ValueError(f"endpoint: expected an http(s) URL like http://localhost:4318, got '{self.endpoint}'")


class TraceWish(msgspec.Struct, frozen=True):
    """What is to be done. ``is_asked``: the file asks for it, not only the environment."""

    url: str
    ratio: float
    headers: dict[str, str]
    is_asked: bool


def trace_wish(section: TraceSection, env: Mapping[str, str]) -> TraceWish | None:
    """Return what is wished by settings and environment; None when no spans are. Raises: ConfigError."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    url = _url(section.endpoint) if section.endpoint is not None else _url_of(env)
    if not url:
        return None
    ratio = section.sample_ratio if section.sample_ratio is not None else _ratio_of(env)
    return TraceWish(url, ratio, read_headers(section.headers_file), section.endpoint is not None)


def read_headers(file: str | None) -> dict[str, str]:
    """Return the headers that a file holds. Its contents are secret: no error repeats them. Raises: ConfigError."""
    if file is None:
        return {}
    try:
        text = read_plain(file)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"[trace] headers_file: {file} cannot be read: {why}", file=file) from None
    headers = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        found = _HEADER.fullmatch(words)
        if found is None:
            raise ConfigError(f"[trace] headers_file: {file}, line {number}: expected `name: value`", file=file)
        headers[found[1].lower()] = found[2].strip()
    return headers


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return is_whole and not (url.username or url.fragment) and not re.search(r"[\s\x00-\x1f\x7f]", text)


def _url(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return endpoint if parts.path.strip("/") or parts.query else endpoint.rstrip("/") + TRACES_PATH


def _url_of(env: Mapping[str, str]) -> str:
    """Return where the variables send spans, empty when nowhere: the first one as it is, the second is a base."""
    exporter = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in ("", "otlp"):
        return ""
    own, base = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    for variable, url in (("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own), ("OTEL_EXPORTER_OTLP_ENDPOINT", base)):
        if url and not _is_url(url):
            raise ConfigError(f"{variable}: expected an http(s) URL like http://localhost:4318", key=variable)
    return own or (base.rstrip("/") + TRACES_PATH if base else "")


def _ratio_of(env: Mapping[str, str]) -> float:
    """Return the share of ``OTEL_TRACES_SAMPLER``: ours is based on the caller's decision in any case."""
    sampler = env.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        return 1.0
    text = env.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG: expected 0 to 1, got '{text}'", key="OTEL_TRACES_SAMPLER_ARG")
    return ratio
