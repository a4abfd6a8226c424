"""Tells from samples whether the memory of an engine that was stopped has come back.

A process of its own must be gone from every device. A server that several models share stays, and must hold less by
what the model held: not quite all of it, because a driver's context and its libraries' workspaces are the server's and
stay (0.5 GB, as mistral.rs' users report), and because which model holds what is divided by estimate.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cortex.neuron.discovery.interface import Reading

KEPT_MB = 640
"""What a server may keep of every model that it had."""
KEPT_SHARE = 4
"""Or a quarter of what the model held, where that is more."""


class MemoryReturn(NamedTuple):
    """What has to be seen. ``limits_mb``: what the process may still hold, by device; None: nothing at all."""

    pid: int
    limits_mb: Mapping[int, int] | None = None

    def is_back(self, readings: Sequence[Reading]) -> bool:
        """Tell whether no device says otherwise; one that cannot tell processes apart says nothing."""
        return not any(self._is_held(index, reading) for index, reading in enumerate(readings))

    def _is_held(self, device: int, reading: Reading) -> bool:
        use = (reading.processes or {}).get(self.pid)
        if use is None:
            return False
        return self.limits_mb is None or (device in self.limits_mb and use.held_mb > self.limits_mb[device])


def of_process(pid: int) -> MemoryReturn:
    """Return what has to be seen of an engine that was a process."""
    return MemoryReturn(pid)


def of_model(pid: int, server_mb: Mapping[int, int], model_mb: Mapping[int, int]) -> MemoryReturn:
    """Return what has to be seen of a model: what its server holds now, and the model's part of it, by device."""
    kept = {device: max(KEPT_MB, part // KEPT_SHARE) for device, part in model_mb.items()}
    return MemoryReturn(
        pid,
        {device: server_mb[device] - part + kept[device] for device, part in model_mb.items() if device in server_mb},
    )
