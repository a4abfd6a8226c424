"""Finds the process of a server that runs by itself, by the address on which it listens."""

from urllib.parse import urlsplit

from cortex.kit.listener import occupant_pid
from cortex.neuron.endpoint import is_loopback
from cortex.neuron.process.child import identity


def listener_at(url: str) -> tuple[int, int]:
    """Return its process with its start; zeros where that is hidden: another user's, in a container, elsewhere."""
    parts = urlsplit(url)
    if not is_loopback(parts.hostname or ""):
        return 0, 0
    return identity(occupant_pid(parts.port or (443 if parts.scheme == "https" else 80)))
