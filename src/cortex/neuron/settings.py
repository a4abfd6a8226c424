"""Every knob of a neuron: ``neuron.toml``, with its units, defaults and limits.

Says what may be written, not what follows from it: which kinds of harness there are and what each of them needs is
known to ``harness/registry.py``. ``CORTEX_NEURON_PORT`` and its like override single keys (``kit/settings.py``).
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from cortex.kit.credential import TLS_CERT, TLS_KEY, Place
from cortex.kit.log import LogFormat, LogLevel
from cortex.kit.place import expanded
from cortex.kit.settings import check_pair, load_settings
from cortex.kit.trace_setting import TraceSection

ENV_PREFIX = "CORTEX_NEURON_"
DROP_INS = "neuron.d"
"""The folder beside ``neuron.toml`` whose files are laid over it."""

CREDENTIALS = {TLS_CERT: Place(("tls_cert",)), TLS_KEY: Place(("tls_key",))}

PRIVATE_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Loopback, RFC 1918 and RFC 4193."""

LONGEST_S = 1e9
"""Thirty years; what is endless cannot be told in JSON."""
Seconds = Annotated[float, Meta(gt=0, le=LONGEST_S)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=LONGEST_S)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class HarnessEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[harnesses]]``: an engine kind on this node, under a name of the operator's own."""

    name: str
    kind: str = ""
    """Which adapter; default: the name."""
    endpoint: str | None = None
    """Base URL of an engine that runs by itself, with or without ``/v1``; kept without a closing slash."""
    endpoints: tuple[str, ...] = ()
    """Base URLs of more such engines; of two with one model the first that answers is used."""
    key_file: str | None = None
    """Holds the key that they ask for."""
    systemd_unit: str | None = None
    binary: str | None = None
    """Absolute, or a bare name that is looked up on PATH."""
    package: str | None = None
    """The package that brings the engine, where it has one."""
    port_range: tuple[Port, Port] | None = None
    """First and last port for engines, both included; default: any free port."""
    relay: bool = False
    """Callers reach the engine through the neuron's own port; for engines that listen on loopback only."""
    mode: Literal["shared", "per_model"] = "shared"
    env: dict[str, str] = {}
    """Added to the engines' environment."""
    args: tuple[str, ...] = ()
    """Added to every engine's command line, before a model's own."""
    models: tuple[str, ...] | None = None
    """Ids that an engine serves, where it is not to be asked for them."""
    cmd: str | tuple[str | tuple[str, ...], ...] | None = None
    """The command that starts an engine, with ``${PORT}`` and its like; a list within the list may be left out."""
    ready_path: str | None = None
    """Answered with 200 by an engine that serves."""
    in_flight_metrics: tuple[str, ...] = ()
    """Metrics of an engine whose sum is the number of requests in it."""
    work_metrics: tuple[str, ...] = ()
    """Metrics of an engine that grow when it works."""
    stop_signal: Literal["SIGTERM", "SIGINT", "SIGQUIT"] = "SIGTERM"
    stop_grace_s: SecondsOrZero | None = None
    """Between that signal and SIGKILL."""
    allow_args: tuple[str, ...] = ()
    """Flags that loads may give besides those that they always may."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s/]+", self.name):
            raise ValueError(f"name: expected a name without spaces and slashes, got '{self.name}'")
        if self.ready_path is not None and not self.ready_path.startswith("/"):
            raise ValueError(f"ready_path: expected a path like /health, got '{self.ready_path}'")
        if not self.kind:
            msgspec.structs.force_setattr(self, "kind", self.name)
        if self.endpoint is not None:
            msgspec.structs.force_setattr(self, "endpoint", _checked_endpoint(self.endpoint, "endpoint"))
        urls = tuple(_checked_endpoint(text, f"endpoints[{n}]") for n, text in enumerate(self.endpoints))
        msgspec.structs.force_setattr(self, "endpoints", urls)
        if self.port_range is not None and self.port_range[0] > self.port_range[1]:
            raise ValueError(f"port_range: expected [first, last], got {list(self.port_range)}")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"env: {name!r} = {value!r} cannot stand in an environment")


class NeuronSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ``neuron.toml``."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 9090
    """0 takes a free one."""
    host: str = "0.0.0.0"
    """The address to listen on; engines listen on it too, or on loopback where their entry says ``relay``."""
    advertise_host: str | None = None
    """The host in endpoints given to other hosts; default: the address on which they reached this neuron."""
    cpu_device: bool | None = None
    """Whether the CPU with its RAM is a device; default: where there is no GPU."""
    headroom_mb: Annotated[int, Meta(ge=0)] = 512
    """MiB of every device that no model may use."""
    labels: dict[str, str] = {}
    """What is said of this node; a model that asks for a label goes only where it is, with the same value."""
    drain_timeout_s: SecondsOrZero = 300
    """How long an unload waits for running requests before it is given up, or cuts them with ``force``."""
    evict_grace_s: SecondsOrZero = 5
    """How long an eviction waits until every gateway has let go of its victims before it gives up."""
    max_wait_s: SecondsOrZero = 120
    """A load that is refused for busy victims for so long is due: they get no new requests, and go when idle."""
    lease_ttl_s: Seconds = 40
    """A gateway that is not heard for so long holds nothing any more; at least 3.5 times its ``poll_s``."""
    cancel_settle_s: SecondsOrZero = 10
    """A cancelled request may occupy its slot for so long, where the engine's own count does not drop before."""
    load_timeout_s: Seconds = 1800
    """A load without progress for so long (and some more by its size) has failed; fetching the file is not counted."""
    token_file: str | None = None
    """Holds the credential that callers must show; default: none, and only trusted networks are served."""
    trusted_networks: tuple[str, ...] = PRIVATE_NETWORKS
    """CIDRs that need no credential while none is configured."""
    tls_cert: str | None = None
    """The certificate with its chain, PEM; with it and ``tls_key`` the neuron speaks TLS and nothing else."""
    tls_key: str | None = None
    tls_client_ca: str | None = None
    """Only callers with a certificate signed by one of these are let in."""
    state_dir: str | None = None
    """Generations, records of running engines, their logs; default: $STATE_DIRECTORY, else below the user's home."""
    model_dirs: tuple[str, ...] = ()
    """Where model files are looked for."""
    keep_engines: bool = True
    """Whether engines go on when the neuron is stopped; the next neuron finds them again."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "plain"
    harnesses: tuple[HarnessEntry, ...] = ()
    trace: TraceSection = msgspec.field(default_factory=TraceSection)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for entry in self.harnesses:
            if entry.name in seen:
                raise ValueError(f"harnesses: expected each name once, got '{entry.name}' twice; give one a `kind`")
            seen.add(entry.name)
        for text in self.trusted_networks:
            _check_network(text)
        if self.advertise_host is not None:
            _check_host(self.advertise_host)
        check_pair("tls_cert", self.tls_cert, "tls_key", self.tls_key)
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca: without tls_cert and tls_key nobody is asked for a certificate")


def load_neuron_settings(path: Path | None, env: Mapping[str, str]) -> NeuronSettings:
    """Return the settings of the file at ``path`` (None: defaults only) with ``env`` over it, its paths made whole.

    Between the two come the files of ``DROP_INS``, whose relative paths start where the main file is, too, and then
    ``CREDENTIALS``.

    Raises: ConfigError.
    """
    settings = load_settings(
        NeuronSettings, path=path, env=env, env_prefix=ENV_PREFIX, folder=DROP_INS, credentials=CREDENTIALS
    )
    return settings if path is None else _anchored(settings, path.absolute().parent)


def _anchored(settings: NeuronSettings, base: Path) -> NeuronSettings:
    """Make every relative path of the settings start at ``base``."""

    def whole(text: str | None) -> str | None:
        return None if text is None else str(base / expanded(text))

    return msgspec.structs.replace(
        settings,
        token_file=whole(settings.token_file),
        tls_cert=whole(settings.tls_cert),
        tls_key=whole(settings.tls_key),
        tls_client_ca=whole(settings.tls_client_ca),
        state_dir=whole(settings.state_dir),
        model_dirs=tuple(str(base / expanded(text)) for text in settings.model_dirs),
        harnesses=tuple(msgspec.structs.replace(entry, key_file=whole(entry.key_file)) for entry in settings.harnesses),
        trace=msgspec.structs.replace(settings.trace, headers_file=whole(settings.trace.headers_file)),
    )


def _checked_endpoint(text: str, key: str) -> str:
    if not _is_endpoint(text):
        raise ValueError(f"{key}: expected an http(s) URL like http://localhost:8080, got '{text}'")
    return text.rstrip("/")


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return is_whole and not (url.username or url.query or url.fragment)


def _check_host(text: str) -> None:
    """Raise ValueError for what is no host alone: a URL, or one with a port. IPv6 addresses have many colons."""
    if not re.fullmatch(r"[^\s/@?#\[\]]+", text) or text.count(":") == 1:
        raise ValueError(f"advertise_host: expected a host's name or address alone, got '{text}'")


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted_networks: expected networks like 10.0.0.0/8, got '{text}' ({error})") from None
