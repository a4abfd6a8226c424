"""Immutable pictures of the fleet: what placement decides on, and what the front door shows.

A picture is replaced, never changed. The counters that change with every request live in the dispatcher; a
``ReplicaView`` is a copy of them at one moment.
"""

from collections.abc import Mapping
from functools import cached_property
from math import inf
from typing import NamedTuple

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery, Health
from cortex.contract.profile import Profile
from cortex.fleet.load_book import Failure, Flight
from cortex.fleet.memory import NodeMemory, memory_of


class Coldest(NamedTuple):
    """Bounds over several instances: the earliest that one of them last worked, the longest that one whose moment is
    not known said to be idle, the earliest end of a protection, and the shortest load, ``inf`` where none was seen."""

    worked_s: float
    idle_s: float
    safe_until_s: float
    load_s: float


class NodeView(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One configured neuron, as last heard of. ``why`` says why it is not healthy.

    ``is_tried``: it was asked at least once since start, with or without an answer. ``start_id`` and ``event``: the
    version of ``models``. Their spans were true when they were told: ``worked_s`` has when each last worked, and
    ``safe_until_s`` until when each is protected, by this gateway's clock; of one that is not there its span counts
    from now.
    """

    name: str
    is_healthy: bool = False
    is_tried: bool = False
    why: str = "not asked yet"
    discovery: Discovery | None = None
    health: Health | None = None
    models: tuple[InstanceReport, ...] = ()
    start_id: str = ""
    event: int = 0
    worked_s: Mapping[str, float] = {}
    safe_until_s: Mapping[str, float] = {}
    troubles: tuple[str, ...] = ()
    """What is wrong between it and this gateway, though it answers."""
    version_skew: int | None = None
    """Minor versions between its neuron and this gateway; None: not known."""

    @cached_property
    def memory(self) -> NodeMemory | None:
        """What its memory is by all that; None: its devices are not known."""
        return None if self.discovery is None else memory_of(self.discovery, self.health, self.models)

    @cached_property
    def coldest(self) -> Coldest | None:
        """The best case for whoever looks for a victim: bounds over those that could go; None: nobody could."""
        idle = () if self.memory is None else self.memory.idle
        if not idle:
            return None
        told = [report.idle_s or 0.0 for report in idle if report.id not in self.worked_s]
        return Coldest(
            worked_s=min([self.worked_s.get(report.id, inf) for report in idle]),
            idle_s=max(told, default=0.0),
            safe_until_s=min([self.safe_until_s.get(report.id, 0.0) for report in idle]),
            load_s=min([inf if report.load_s is None else report.load_s for report in idle]),
        )

    def report_of(self, model: str) -> InstanceReport | None:
        """Return what the node last said of a model."""
        for report in self.models:
            if report.id == model:
                return report
        return None

    def idle_s(self, report: InstanceReport, now_s: float) -> float | None:
        """Return for how long an instance has not worked; None: nobody knows."""
        worked_s = self.worked_s.get(report.id)
        return report.idle_s if worked_s is None else max(0.0, now_s - worked_s)

    def protected_s(self, report: InstanceReport, now_s: float) -> float:
        """Return for how long an instance will not be evicted yet."""
        until_s = self.safe_until_s.get(report.id)
        return report.protected_s if until_s is None else max(0.0, until_s - now_s)


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of an instance that this gateway uses. ``is_ready``: requests are granted to it now."""

    node: str
    generation: int
    is_ready: bool
    in_flight: int
    parallel: int | None
    last_used_s: float
    slots: int | None = None
    """Of ``parallel`` those that this gateway may use; None: nobody else has any."""
    context: int | None = None
    """How many tokens one request may have there, where that is known."""


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One model that the fleet knows, from the catalogue (``profile``) or found on a node (None)."""

    id: str
    profile: Profile | None
    replicas: tuple[ReplicaView, ...]
    waiting: int
    loading_on: str | None
    flights: tuple[Flight, ...] = ()
    """Loads of it that are under way."""
    failures: tuple[Failure, ...] = ()
    """The last ones on nodes where it is not tried again yet."""


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole fleet at one moment; ``nodes`` in configured order, ``models`` sorted by id."""

    nodes: tuple[NodeView, ...]
    models: tuple[ModelView, ...]
    now_s: float = 0.0


class WaiterView(msgspec.Struct, frozen=True, kw_only=True):
    """One request that waits."""

    caller: str
    waited_s: float


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits for one model: how many, of whom, and the next ones in their order."""

    model: str
    waiting: int
    oldest_wait_s: float
    by_caller: dict[str, int]
    upcoming: tuple[WaiterView, ...]
