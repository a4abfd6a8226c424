"""Remembers when something last changed on each device, so that a plan made before that is known to be out of date.

A change is an instance that begins, serves, drains, ends or fails there. What its engine does meanwhile is none.
"""

from collections.abc import Iterable, Sequence

from cortex.neuron.instance import Instance
from cortex.neuron.refusal import Stale


class Basis:
    """The numbers of the newest change of every device."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        self._changed: dict[int, int] = {}

    def note(self, instances: Iterable[Instance], event: int) -> None:
        """Take in how the instances are at an event."""
        for instance in instances:
            launch = instance.launch
            devices = tuple(device.index for device in launch.devices) if launch is not None else ()
            state = (instance.status, launch.generation if launch is not None else 0, devices)
            before = self._states.get(instance.model_id, ("unloaded", 0, ()))
            if state != before:
                self._states[instance.model_id] = state
                self._changed.update(dict.fromkeys((*before[2], *devices), event))

    def check(self, basis_event: int | None, devices: Sequence[int], now_event: int) -> None:
        """Raise Stale for a plan on devices of which something has changed since it was made."""
        if basis_event is None:
            return
        newest = max((self._changed.get(device, 0) for device in devices), default=0)
        if basis_event < newest:
            words = f"the plan goes by event {basis_event}, and something has changed on its devices at {newest}"
        elif basis_event > now_event:
            words = f"the plan goes by event {basis_event}, which this life of the neuron has not reached"
        else:
            return
        raise Stale(f"{words}: look again", reason="basis")


def another_life(start_id: str) -> Stale:
    """Return the refusal of a plan made by what an earlier neuron process told: its numbers mean nothing now."""
    return Stale(f"the plan goes by another life of the neuron than {start_id}: look again", reason="basis")
