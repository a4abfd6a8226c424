"""How much a model is taken to need after its engine ran out of memory while it loaded: what there was did not do.

So more than was promised to it, and more than was free on its devices: else the next try would be the same one.
"""

from collections.abc import Sequence

from cortex.fleet.memory import NodeMemory

MORE_MEMORY = 1.2


def enlarged_mb(asked_mb: int, devices: Sequence[int], memory: NodeMemory | None) -> int:
    """Return the MiB to ask for, in all; never more than the devices could ever give, unless that was asked before."""
    more_mb = round(asked_mb * MORE_MEMORY)
    if memory is None or not devices:
        return more_mb
    rooms = [memory.rooms[index] for index in devices if index in memory.rooms]
    free = [free_mb for room in rooms if (free_mb := memory.free_mb.get(room.index)) is not None]
    if len(free) < len(devices):
        return more_mb
    most_mb = len(devices) * min(room.total_mb - memory.headroom_mb for room in rooms)
    return max(asked_mb, min(most_mb, max(more_mb, len(devices) * (min(free) + 1))))
