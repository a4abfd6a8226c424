"""What ``serve`` and ``check`` say of a configuration that is allowed and hardly meant.

Faults are not its matter: those are refused by whoever reads the files.
"""

from collections.abc import Collection, Iterator

from cortex.contract.profile import Profile
from cortex.gateway.settings import GatewaySettings, host_port


def remarks(settings: GatewaySettings, profiles: Collection[Profile], *, has_nodes: bool = False) -> list[str]:
    """Return a sentence for everything worth one. ``has_nodes``: pins are left to ``fleet/lint.py``."""
    pins = [] if has_nodes else [*_about_pins(settings, profiles)]
    return [*_about_nodes(settings), *pins, *_about_ports(settings), *_about_pages(settings)]


def _about_nodes(settings: GatewaySettings) -> Iterator[str]:
    if not settings.neurons:
        yield "no [[neurons]]: every request will be answered 503"


def _about_pins(settings: GatewaySettings, profiles: Collection[Profile]) -> Iterator[str]:
    nodes = {entry.name for entry in settings.neurons}
    for profile in profiles:
        strangers = sorted(set(profile.pinned_on) - nodes)
        if strangers:
            yield f"{profile.id} is pinned on {', '.join(strangers)}, which is no name under [[neurons]]"


def _about_ports(settings: GatewaySettings) -> Iterator[str]:
    gateway = settings.gateway
    if host_port(gateway.listen)[1] == host_port(gateway.metrics_listen)[1] != 0:
        yield "listen and metrics_listen have the same port"


def _about_pages(settings: GatewaySettings) -> Iterator[str]:
    if "*" in settings.gateway.cors_origins and settings.store.url is None:
        yield (
            'cors_origins = ["*"] without keys (there is no [store]): every web page that is open in a browser of a '
            "trusted network may use this gateway"
        )
