"""Every knob of a gateway: ``cortex.toml``, with its units, defaults and limits.

Says what may be written, not what follows from it. No facts about devices stand here: those come from discovery.
``CORTEX_GATEWAY__LISTEN`` and its like override single keys (``kit/settings.py``).
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from cortex.gateway.store_url import anchored, parse_store_url
from cortex.kit.credential import STORE_URL, TLS_CERT, TLS_KEY, Place
from cortex.kit.log import LogFormat, LogLevel
from cortex.kit.settings import check_pair, load_settings
from cortex.kit.strict import NAME
from cortex.kit.tls import TlsFiles
from cortex.kit.trace_setting import TraceSection

Seconds = Annotated[float, Meta(gt=0)]
Amount = Annotated[int, Meta(ge=1)]
AmountOrZero = Annotated[int, Meta(ge=0)]

ENV_PREFIX = "CORTEX_"
DROP_INS = "conf.d"
"""The folder beside ``cortex.toml`` whose files are laid over it."""

CREDENTIALS = {
    STORE_URL: Place(("store", "url"), is_text=True),
    TLS_CERT: Place(("gateway", "tls_cert")),
    TLS_KEY: Place(("gateway", "tls_key")),
}

PRIVATE_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Loopback, RFC 1918 and RFC 4193."""


class GatewaySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[gateway]``: this process and its front door."""

    listen: str = "0.0.0.0:8000"
    """The API: host:port, an IPv6 host in brackets. Port 0 takes a free one."""
    metrics_listen: str = "0.0.0.0:9100"
    """Prometheus metrics, on a port of their own; node_exporter likes this one too."""
    tls_cert: str | None = None
    """The certificate with its chain, PEM; with it and ``tls_key`` both doors speak TLS and nothing else."""
    tls_key: str | None = None
    tls_client_ca: str | None = None
    """Only clients with a certificate signed by one of these are let in."""
    metrics_tls: bool = True
    """Whether the metrics' door speaks TLS, too."""
    models: str | None = None
    """The catalogue; a relative path starts at the config file. Default: ``models.toml`` beside it, if there."""
    watch_models: bool = True
    """Read the catalogue anew when its file has changed; with SIGHUP always."""
    reuse_port: bool = False
    """Several gateways on one port of one machine (SO_REUSEPORT), each with a ``metrics_listen`` of its own."""
    max_body_mb: Amount = 64
    """MiB of a request's body; more is a 413."""
    max_header_kb: Amount = 64
    """KiB of a request's head; more is a 431."""
    max_buffered_mb: Amount = 1024
    """MiB of all bodies that are held at a time, of requests that wait or are under way; more are a 503."""
    max_connections: AmountOrZero = 20_000
    """Connections of clients; 0: no limit. More are answered with a 503, under TLS closed."""
    max_connections_per_address: AmountOrZero = 10_000
    """Those of one address, proxies of ``trusted_proxies`` excepted; 0: no limit."""
    head_timeout_s: Seconds = 30
    """From the first byte of a request's head to its last, and for a TLS handshake."""
    min_body_bytes_per_s: AmountOrZero = 500
    """A body may take ``client_stall_s``, and a second more for so many bytes; 0: any time, if it never stalls."""
    heartbeat_after_s: Seconds = 10
    """A streamed request that waits longer in the gateway gets heartbeats."""
    heartbeat_every_s: Seconds = 10
    """Between two of them."""
    unstreamed_wait_s: Seconds = 300
    """Longest wait of an unstreamed request for its model to load, or for a slot of it; then it is a 503."""
    max_waiting: Amount = 1000
    """Requests that wait for one model; more are a 503."""
    max_waiting_per_caller: Amount = 100
    """Requests of one caller that wait for one model; more are a 429."""
    connect_timeout_s: Seconds = 5
    first_token_timeout_s: Seconds = 600
    """Until the engine's first event; a load before it is not counted."""
    stall_timeout_s: Seconds = 300
    """Longest silence of an engine inside an answer. There is no limit on the whole."""
    client_stall_s: Seconds = 300
    """A client that reads nothing for so long is closed."""
    load_timeout_s: Seconds = 1800
    """Longest wait of a request for its model to load."""
    keep_alive_s: Seconds = 75
    """An idle client connection is closed after this."""
    pool_idle_s: Seconds = 60
    """An idle connection to an engine is closed after this."""
    shutdown_grace_s: Annotated[float, Meta(ge=0)] = 30
    """After SIGTERM running streams may finish for so long; then each gets an error in its dialect."""
    drain_delay_s: Annotated[float, Meta(ge=0)] = 0
    """After SIGTERM requests are still taken for so long, while ``/readyz`` says 503 and answers say ``close``."""
    handover_grace_s: Annotated[float, Meta(ge=0)] = 3600
    """A gateway that another process has replaced (SIGUSR2) lets its streams run for so long."""
    discovery_s: Seconds = 60
    """Between two discoveries of a node."""
    poll_s: Seconds = 10
    """Between two reports to a node, which answers with what has changed."""
    poll_timeout_s: Seconds = 5
    misses: Amount = 3
    """A node that does not answer so many polls in a row is not healthy; a refused connection tells at once."""
    access_log: bool = True
    """One line per request, at level info; false: only for those that failed, at level error."""
    log_prompts: bool = False
    """Whether the access log has what requests say to their models, shortened, pictures left out."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "plain"
    gateway_id: str | None = None
    """How neurons know this gateway; default: made at start. Must differ between gateways.

    With one of its own a gateway that was killed is known again at once, and nothing waits for its leases to end."""
    trusted_proxies: tuple[str, ...] = ()
    """CIDRs of reverse proxies whose X-Forwarded-For is believed."""
    trusted_networks: tuple[str, ...] = PRIVATE_NETWORKS
    """CIDRs that need no key while there is none."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers may reach this gateway while there is no key; ``*.example.org``: all below one."""
    cors_origins: tuple[str, ...] = ()
    """Origins (``https://chat.example.org``) whose web pages may use this gateway; ``*``: all."""
    keys_fail_closed: bool = False
    """What becomes of requests while the store is silent: true: all are refused; false: keys that are known go on."""
    fetch_images: bool = True
    """Fetch pictures that requests name by URL, where engines are not asked in their own dialect: over https, from
    public hosts only. false: such requests are refused."""
    image_hosts: tuple[str, ...] = ()
    """Hosts from which pictures are fetched by http too, and though they are not public."""
    event_loop: Literal["auto", "uvloop", "asyncio"] = "auto"
    """auto: uvloop where it is installed."""
    steward: bool = True
    """Of several gateways without a shared store exactly one runs preloads, replica counts and defrag."""
    scale_after_s: Seconds = 30
    """Requests must have waited for so long before a model gets one more replica."""
    scale_idle_s: Seconds = 300
    """A replica that is not needed goes when it has been idle for so long."""
    lost_after_s: Seconds = 30
    """What a node had is replaced when it has been silent for so long; the restart of a neuron takes less."""

    def __post_init__(self) -> None:
        for key in ("listen", "metrics_listen"):
            try:
                host_port(getattr(self, key))
            except ValueError as exc:
                raise ValueError(f"{key}: {exc}") from None
        for key in ("trusted_proxies", "trusted_networks"):
            for text in getattr(self, key):
                _check_network(key, text)
        for text in self.cors_origins:
            _check_cors_origin(text)
        for text in self.allowed_hosts:
            _check_host_name(text)
        check_pair("tls_cert", self.tls_cert, "tls_key", self.tls_key)
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca: without tls_cert and tls_key nobody is asked for a certificate")
        if self.max_buffered_mb < self.max_body_mb:
            raise ValueError(f"max_buffered_mb: expected max_body_mb ({self.max_body_mb}) or more")


class EvictionSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[eviction]``: who has to go when room is short."""

    strategy: Literal["lru", "priority", "cost"] = "lru"
    defrag_after_cycles: Annotated[int, Meta(ge=0)] = 50
    """A harness's engine is restarted, when idle, after so many unloads; 0: never."""
    defrag_idle_s: Seconds = 60
    """For a restart, or for maintenance, a model that has no room elsewhere must have been idle for so long."""


class NeuronEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[neurons]]``: a node of the fleet. ``endpoint`` is kept without a closing slash."""

    name: Annotated[str, Meta(pattern=NAME)]
    endpoint: str
    token_file: str | None = None
    """Holds the credential for this neuron; a relative path starts at the config file."""
    ca_file: str | None = None
    """By whom the neuron's certificate must be signed; default: whom the system trusts."""
    cert_file: str | None = None
    """The certificate that this gateway shows to the neuron."""
    key_file: str | None = None
    """Its private key."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "endpoint", _checked_endpoint(self.endpoint))
        check_pair("cert_file", self.cert_file, "key_file", self.key_file)
        if (self.ca_file or self.cert_file) and not self.endpoint.startswith("https:"):
            raise ValueError(f"endpoint: ca_file and cert_file are for https://, got '{self.endpoint}'")


class StoreSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[store]``: where keys, usage and claims live."""

    url: str | None = None
    """``sqlite:///…``, a relative path from the config file, or ``postgresql://…``; default: none, nothing is kept."""
    usage_retention_days: Annotated[int, Meta(ge=1, le=36500)] = 90
    """How long finished requests stay in the usage ledger."""

    def __post_init__(self) -> None:
        if self.url is None:
            return
        try:
            parse_store_url(self.url)
        except ValueError as exc:
            raise ValueError(f"url: {exc}") from None


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ``cortex.toml``."""

    gateway: GatewaySection = msgspec.field(default_factory=GatewaySection)
    eviction: EvictionSection = msgspec.field(default_factory=EvictionSection)
    neurons: tuple[NeuronEntry, ...] = ()
    store: StoreSection = msgspec.field(default_factory=StoreSection)
    trace: TraceSection = msgspec.field(default_factory=TraceSection)

    def __post_init__(self) -> None:
        for key in ("name", "endpoint"):
            seen: set[str] = set()
            for entry in self.neurons:
                value = getattr(entry, key)
                if value in seen:
                    raise ValueError(f"neurons: expected each {key} once, got '{value}' twice")
                seen.add(value)


def load_gateway_settings(path: Path | None, env: Mapping[str, str]) -> GatewaySettings:
    """Return the settings of the file at ``path`` (None: defaults only) with ``env`` over it, its paths made whole.

    Between the two come the files of ``DROP_INS``, whose relative paths start where the main file is, too, and then
    ``CREDENTIALS``.

    Raises: ConfigError.
    """
    settings = load_settings(
        GatewaySettings, path=path, env=env, env_prefix=ENV_PREFIX, folder=DROP_INS, credentials=CREDENTIALS
    )
    return settings if path is None else _anchored(settings, path.absolute().parent)


def tls_files_of(entry: NeuronEntry) -> TlsFiles | None:
    """Return the files by which a gateway and this neuron know each other; None: whom the system trusts."""
    if entry.ca_file is None and entry.cert_file is None:
        return None
    return TlsFiles(
        cert=entry.cert_file,
        key=entry.key_file,
        ca=entry.ca_file,
        where=f"neurons.{entry.name}.",
        cert_key="cert_file",
        key_key="key_file",
        ca_key="ca_file",
    )


def host_port(listen: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; raise ValueError with what was expected."""
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_plain = bool(colon and bare) and (":" in bare) == (host != bare)
    if not is_plain or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected host:port (0.0.0.0:8000, [::1]:8000), got '{listen}'")
    return bare, int(port)


_NEURON_FILES = ("token_file", "ca_file", "cert_file", "key_file")


def _anchored(settings: GatewaySettings, base: Path) -> GatewaySettings:
    """Make every relative path of the settings start at ``base``."""

    def whole(text: str | None) -> str | None:
        return None if text is None else str(base / text)

    replace = msgspec.structs.replace
    return replace(
        settings,
        gateway=replace(
            settings.gateway,
            **{
                key: whole(getattr(settings.gateway, key)) for key in ("models", "tls_cert", "tls_key", "tls_client_ca")
            },
        ),
        neurons=tuple(
            replace(entry, **{key: whole(getattr(entry, key)) for key in _NEURON_FILES}) for entry in settings.neurons
        ),
        store=replace(settings.store, url=None if settings.store.url is None else anchored(settings.store.url, base)),
        trace=replace(settings.trace, headers_file=whole(settings.trace.headers_file)),
    )


def _checked_endpoint(text: str) -> str:
    if not _is_base_url(text):
        wanted = "expected an http(s) URL of a host and perhaps a port, like http://gpu1.example.internal:9090"
        raise ValueError(f"endpoint: {wanted}, got '{text}'")
    return text.rstrip("/")


def _is_base_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        has_host = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return has_host and not (url.username or url.path.strip("/") or url.query or url.fragment or " " in text)


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+")


def _check_cors_origin(text: str) -> None:
    if text not in ("*", "null") and not _ORIGIN.fullmatch(text):
        raise ValueError(f"cors_origins: expected origins like https://chat.example.org, without a path, got '{text}'")


def _check_host_name(text: str) -> None:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]+", text):
        raise ValueError(f"allowed_hosts: expected names like cortex.example.org or *.example.org, got '{text}'")


def _check_network(key: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        raise ValueError(f"{key}: expected networks like 10.0.0.0/8, got '{text}' ({exc})") from None
