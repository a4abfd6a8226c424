"""The certificates of a gateway: its own, and those by which it and the neurons know each other.

Made from the settings, read anew when the files have changed or at SIGHUP, and shown in metrics by when they end.
"""

import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.contract.instance import RELAY_PREFIX
from cortex.fleet.effect import Target
from cortex.gateway.data.front import Front
from cortex.gateway.data.metric import gauge
from cortex.gateway.settings import GatewaySettings, tls_files_of
from cortex.kit.task import TaskOwner
from cortex.kit.tls import ClientTls, ServerTls, Tls, TlsFiles
from cortex.kit.tls_watch import watch_tls


class GatewayTls:
    """Raises: ConfigError for files that cannot be used."""

    def __init__(self, settings: GatewaySettings) -> None:
        section = settings.gateway
        self._server = None
        if section.tls_cert is not None:
            files = TlsFiles(cert=section.tls_cert, key=section.tls_key, ca=section.tls_client_ca, where="[gateway] ")
            self._server = ServerTls(files)
        named = ((entry.name, tls_files_of(entry)) for entry in settings.neurons)
        self._nodes = {name: ClientTls(files) for name, files in named if files is not None}
        self.door = None if self._server is None else self._server.context
        """What the API's door speaks; None: no TLS."""
        self.metrics_door = self.door if section.metrics_tls else None
        self.scheme = "http" if self._server is None else "https"

    def of_node(self, node: str) -> Callable[[], ssl.SSLContext | None]:
        """Return what gives the context of calls to a neuron, None: what the system trusts."""
        tls = self._nodes.get(node)
        return lambda: None if tls is None else tls.current

    def of_target(self, target: Target) -> ssl.SSLContext | None:
        """Return that of requests to an engine: the neuron's where it relays them, None: what the system trusts.

        So nobody but the neuron is shown the gateway's certificate.
        """
        tls = self._nodes.get(target.node)
        return None if tls is None or not urlsplit(target.url).path.startswith(RELAY_PREFIX) else tls.current

    def start(self, tasks: TaskOwner) -> None:
        """Begin to look whether files have changed."""
        if watched := tuple(self._all().values()):
            tasks.start(watch_tls(watched), "watch certificates")

    def reload(self) -> None:
        """Read all files anew; those that cannot be used are told of and change nothing."""
        for tls in self._all().values():
            tls.renew_or_tell()

    def collect(self) -> Iterator[Metric]:
        """Yield when certificates end."""
        about = "When a certificate ends, in seconds since 1970: the gateway's own, and those it shows to neurons."
        ends = (((name,), tls.not_after_s) for name, tls in self._all().items() if tls.not_after_s is not None)
        yield gauge("cortex_tls_certificate_not_after_seconds", about, ("certificate",), ends)

    def _all(self) -> dict[str, Tls]:
        own: dict[str, Tls] = {} if self._server is None else {"gateway": self._server}
        return own | {f"to {node}": tls for node, tls in self._nodes.items()}


def door_metrics(door: Front) -> Iterator[Metric]:
    """Yield who was not let in at a door."""
    about = "Connections of clients that were turned away: max_connections, max_connections_per_address."
    yield CounterMetricFamily("cortex_client_connections_refused", about, value=door.room.turned_away)
    about = "TLS handshakes of clients that came to nothing."
    failed = sum(one.failed for one in door.acceptors)
    yield CounterMetricFamily("cortex_tls_handshake_failures", about, value=failed)
