"""Tells from samples whether the memory of an engine that was stopped has come back.

A process of its own must be gone from every device. A server that several models share stays, and must hold less by
what the model held: not quite all of it, because a driver's context and its libraries' workspaces are the server's and
stay (0.5 GB, as mistral.rs' users report), and because which model holds what is divided by estimate.

A device that does not tell processes apart must at least have less in use; until it has, nobody knows. One that does
is asked twice for a sample, what is in use and by whom, and an engine may end in between: where not less is in use, the
next sample must say the same.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cortex.neuron.discovery.interface import Reading

KEPT_MB = 640
"""What a server may keep of every model that it had."""
KEPT_SHARE = 4
"""Or a quarter of what the model held, where that is more."""
EXPECTED_SHARE = 2
"""Half of what an engine declared must have gone from what is in use: a declaration is an estimate, and on the high
side."""


class MemoryReturn(NamedTuple):
    """What has to be seen. ``limits_mb``: what the process may still hold, by device; None: nothing at all.

    ``used_mb``: what may be in use, by anybody, of each device that the engine was on; None: nobody knew before.
    """

    pid: int
    limits_mb: Mapping[int, int] | None = None
    used_mb: Mapping[int, int | None] = {}

    def is_back(self, readings: Sequence[Reading]) -> bool | None:
        """Tell whether the devices show it; None when none says otherwise, but not every one tells."""
        if any(self._is_held(index, reading) for index, reading in enumerate(readings)):
            return False
        told = [self._is_told(readings[index], limit) for index, limit in self.used_mb.items() if index < len(readings)]
        return True if all(told) else None

    def is_less(self, readings: Sequence[Reading]) -> bool:
        """Tell whether less is in use of every device, as far as that is told."""
        told = [(readings[at].vram_used_mb, limit) for at, limit in self.used_mb.items() if at < len(readings)]
        return all(used is None or limit is None or used <= limit for used, limit in told)

    def _is_held(self, device: int, reading: Reading) -> bool:
        use = (reading.processes or {}).get(self.pid)
        if use is None or reading.trouble is not None:
            return False
        return self.limits_mb is None or (device in self.limits_mb and use.held_mb > self.limits_mb[device])

    def _is_told(self, reading: Reading, limit_mb: int | None) -> bool:
        if reading.trouble is not None:
            return False
        is_less = limit_mb is not None and reading.vram_used_mb is not None and reading.vram_used_mb <= limit_mb
        return reading.processes is not None or is_less


def of_process(pid: int, declared_mb: Mapping[int, int], readings: Sequence[Reading]) -> MemoryReturn:
    """Return what has to be seen of an engine that was a process: what it declared, and the devices before its end."""
    return MemoryReturn(pid, used_mb=_in_use_after(declared_mb, readings))


def of_model(
    pid: int,
    server_mb: Mapping[int, int],
    model_mb: Mapping[int, int],
    declared_mb: Mapping[int, int],
    readings: Sequence[Reading],
) -> MemoryReturn:
    """Return what has to be seen of a model: what its server holds now, and the model's part of it, by device.

    Where its part was never measured, what it declared counts as it does for a process.
    """
    kept = {device: max(KEPT_MB, part // KEPT_SHARE) for device, part in model_mb.items()}
    limits = {
        device: server_mb[device] - part + kept[device] for device, part in model_mb.items() if device in server_mb
    }
    unmeasured = {device: mb for device, mb in declared_mb.items() if device not in limits}
    return MemoryReturn(pid, limits, _in_use_after(unmeasured, readings))


def _in_use_after(declared_mb: Mapping[int, int], readings: Sequence[Reading]) -> dict[int, int | None]:
    """Return what may be in use of each device when what was declared has gone; None where nobody knows before."""
    before = {index: readings[index].vram_used_mb for index in declared_mb if index < len(readings)}
    return {
        index: None if used is None else used - declared_mb[index] // EXPECTED_SHARE for index, used in before.items()
    }
