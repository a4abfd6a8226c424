"""Immutable pictures of the fleet: what placement decides on, and what the front door shows.

A picture is replaced, never changed. The counters that change with every request live in the dispatcher; a
``ReplicaView`` is a copy of them at one moment.
"""

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery, Health
from cortex.contract.profile import Profile


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """One configured neuron, as last heard of. ``why`` says why it is not healthy.

    ``is_tried``: it was asked at least once since start, with or without an answer.
    """

    name: str
    is_healthy: bool = False
    is_tried: bool = False
    why: str = "not asked yet"
    discovery: Discovery | None = None
    health: Health | None = None
    models: tuple[InstanceReport, ...] = ()

    def report_of(self, model: str) -> InstanceReport | None:
        """Return what the node last said of a model."""
        for report in self.models:
            if report.id == model:
                return report
        return None


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of an instance that this gateway uses. ``is_ready``: requests are granted to it now."""

    node: str
    generation: int
    is_ready: bool
    in_flight: int
    parallel: int | None
    last_used_s: float


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One model that the fleet knows, from the catalogue (``profile``) or found on a node (None)."""

    id: str
    profile: Profile | None
    replicas: tuple[ReplicaView, ...]
    waiting: int
    loading_on: str | None


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole fleet at one moment; ``nodes`` in configured order, ``models`` sorted by id."""

    nodes: tuple[NodeView, ...]
    models: tuple[ModelView, ...]
