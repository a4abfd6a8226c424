"""What ``GET /events`` of a neuron tells: one message per change, and what a reader needs to begin or begin again."""

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.lease import SlotChange
from cortex.contract.node import HarnessHealth


class NodeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is otherwise than before; of a snapshot everything that there is."""

    start_id: str
    event: int
    models: tuple[InstanceReport, ...] = ()
    gone: tuple[str, ...] = ()
    """Ids of models that are not on the list any more."""
    harnesses: tuple[HarnessHealth, ...] = ()
    slots: tuple[SlotChange, ...] = ()
    """Of all gateways; those whose lease has ended have none."""
    maintenance: bool | None = None
    """Whether nothing new is loaded on the node from now on; None: as before."""


class NodeGap(msgspec.Struct, frozen=True, kw_only=True):
    """The reader has missed something that is not kept any more; a snapshot follows."""

    start_id: str
    event: int
    since: str
