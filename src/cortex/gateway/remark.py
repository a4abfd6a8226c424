"""What ``serve`` and ``check`` say of a configuration that is allowed and hardly meant.

Faults are not its matter: those are refused by whoever reads the files.
"""

from collections.abc import Collection, Iterator

from cortex.contract.profile import Profile
from cortex.gateway.settings import GatewaySettings, host_port


def remarks(settings: GatewaySettings, profiles: Collection[Profile]) -> list[str]:
    """Return a sentence for everything worth one."""
    return [*_about_nodes(settings, profiles), *_about_ports(settings)]


def _about_nodes(settings: GatewaySettings, profiles: Collection[Profile]) -> Iterator[str]:
    nodes = {entry.name for entry in settings.neurons}
    if not nodes:
        yield "no [[neurons]]: every request will be answered 503"
    for profile in profiles:
        strangers = sorted(set(profile.pinned_on) - nodes)
        if strangers:
            yield f"{profile.id} is pinned on {', '.join(strangers)}, which is no name under [[neurons]]"


def _about_ports(settings: GatewaySettings) -> Iterator[str]:
    gateway = settings.gateway
    if host_port(gateway.listen)[1] == host_port(gateway.metrics_listen)[1] != 0:
        yield "listen and metrics_listen have the same port"
