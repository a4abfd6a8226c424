"""Ports of this host for engines: in rotation from a configured range, or any free one."""

import socket

from cortex.residency.port import PortRotation


class HostPorts:
    """Hands out ports that nobody listens on, as seen a moment ago: an engine may still find its port taken."""

    def __init__(self, host: str, port_range: tuple[int, int] | None) -> None:
        self._host = host
        self._rotation = PortRotation(*port_range) if port_range else None

    def take(self) -> int | None:
        """Return a port; None when all of the range are busy."""
        if self._rotation is None:
            return free_port(self._host)
        return self._rotation.take(lambda port: is_free(self._host, port))

    def claim(self, port: int) -> None:
        """Note a port that an engine found running already has."""
        if self._rotation is not None:
            self._rotation.claim(port)

    def give_back(self, port: int) -> None:
        """Free a port; a second time changes nothing."""
        if self._rotation is not None:
            self._rotation.give_back(port)


def is_free(host: str, port: int) -> bool:
    """Tell whether one could listen on a port now."""
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


def free_port(host: str) -> int | None:
    """Return a port that the kernel says is free; None when there is none."""
    try:
        with _bound(host, 0) as probe:
            port: int = probe.getsockname()[1]
            return port
    except OSError:
        return None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    probe = socket.socket(family, kind, proto)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except OSError:
        probe.close()
        raise
    return probe
