"""Where a model is reached, and under which address its caller gets to it.

A loopback address means something only on its own host, so no caller from another one ever gets it: it gets the host
that the operator advertises, else the address on which it reached this neuron; or, for an entry with ``relay``, a path
under the neuron's own port. A key that an engine asks for is told only to callers that showed a credential; the others
are relayed to it as well, and the neuron shows the key.
"""

import ipaddress
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from cortex.contract.instance import RELAY_PREFIX, EndpointAnswer


class Reach(NamedTuple):
    """A loaded model as it is reached from this host. ``nonce`` names its generation in the path of a relay."""

    harness: str
    url: str
    generation: int
    engine_model: str
    nonce: str
    credential: str | None = None
    """The key that it asks for."""
    kind: str = ""
    """Of its harness."""
    context: int | None = None


class Call(NamedTuple):
    """The two ends of the connection that a call came on."""

    client: str
    server: str
    port: int
    is_authenticated: bool = False
    """The caller has shown this neuron's credential."""
    tls_name: str = ""
    """By TLS: the host and port that the caller has asked, as it wrote them; its certificate bears that name."""


class Endpoints:
    """Turns what is reached from here into what is reached from there."""

    def __init__(self, bind_host: str, advertise_host: str | None, relayed: Collection[str]) -> None:
        self._bind_host = bind_host
        self._advertise_host = advertise_host
        self._relayed = frozenset(relayed)

    def answer(self, reach: Reach, call: Call) -> EndpointAnswer:
        """Return ``GET /models/{id}/endpoint`` for this caller."""
        is_relayed = reach.harness in self._relayed or (reach.credential is not None and not call.is_authenticated)
        return EndpointAnswer(
            url=self._relay_url(reach, call) if is_relayed else self._direct_url(reach.url, call),
            generation=reach.generation,
            engine_model=reach.engine_model,
            credential=None if is_relayed else reach.credential,
            kind=reach.kind,
            context=reach.context,
        )

    def _relay_url(self, reach: Reach, call: Call) -> str:
        if call.tls_name:
            host = call.tls_name if self._advertise_host is None else f"{bracketed(self._advertise_host)}:{call.port}"
            return f"https://{host}{RELAY_PREFIX}{reach.nonce}"
        host = call.server if is_same_host(call) else self._advertise_host or call.server
        return f"http://{bracketed(host)}:{call.port}{RELAY_PREFIX}{reach.nonce}"

    def _direct_url(self, url: str, call: Call) -> str:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if is_same_host(call) or not (is_loopback(host) or host == self._bind_host):
            return url
        port = f":{parts.port}" if parts.port is not None else ""
        return urlunsplit(parts._replace(netloc=bracketed(self._advertise_host or call.server) + port))


def is_same_host(call: Call) -> bool:
    """Tell whether a caller is on this host."""
    return is_loopback(call.client) or plain(call.client) == plain(call.server)


def is_loopback(host: str) -> bool:
    """Tell whether a name or address means the host that it is used on."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(plain(host)).is_loopback
    except ValueError:
        return False


def plain(host: str) -> str:
    """Return an IPv4 address that arrived in IPv6's clothes (``::ffff:10.0.0.1``) as itself; else ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def bracketed(host: str) -> str:
    """Return a host as it is written in a URL."""
    host = plain(host)
    return f"[{host}]" if ":" in host else host
