"""The first page: every node with its devices and who uses them, its instances, and who waits. Changes nothing."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from cortex.contract.activity import ActivityQuery, FinishedRequest
from cortex.contract.admin import InstanceEntry, NodeEntry, QueueEntry, QueueList
from cortex.contract.node import DeviceReading
from cortex.fleet.view import FleetView, NodeView
from cortex.gateway.admin.dashboard.load_state import LoadState, loads_of
from cortex.gateway.admin.dashboard.memory_bar import Bar, bar_of, hues_of
from cortex.gateway.admin.dashboard.page import Desk, Filling, Query
from cortex.gateway.admin.dashboard.word import steady
from cortex.gateway.admin.entry import instances_on, node_entries, replicas_by_node

Speeds = dict[tuple[str, str], float]
"""By model and node."""

NOTHING = DeviceReading(index=-1)
LATELY_S = 60.0
LOOKED_AT = 200
"""So many of the requests that ended last are looked at for speeds."""
SHOWN_STATES = ("loaded", "loading", "draining", "unloading", "failed")


class DeviceRow(NamedTuple):
    """One device of a node: what it is, its last reading, its bar."""

    number: int
    name: str
    kind: str
    reading: DeviceReading
    bar: Bar | None


class InstanceRow(NamedTuple):
    """One instance; ``waiting``: requests of all gateways that wait for a slot there, by the node's last word."""

    entry: InstanceEntry
    hue: int
    waiting: int
    is_silent: bool
    load: LoadState | None
    speed: float | None
    """Tokens per second, as requests have had them lately."""


class NodeCard(NamedTuple):
    """One node."""

    entry: NodeEntry
    is_tried: bool
    is_stale: bool
    devices: tuple[DeviceRow, ...]
    instances: tuple[InstanceRow, ...]
    labels: dict[str, str]


class Totals(NamedTuple):
    """The fleet in numbers."""

    nodes: int
    healthy: int
    devices: int
    used_mb: int
    total_mb: int
    loaded: int
    loading: int
    in_flight: int
    waiting: int


async def look_at_fleet(desk: Desk, _: Query) -> Filling:
    """Return what the page is filled with."""
    lately = desk.insight.activity(ActivityQuery(limit=LOOKED_AT, running=False)).finished
    speeds = speeds_of(lately, desk.clock.epoch_s())
    return await asyncio.to_thread(fleet_picture, desk.fleet.view(), desk.fleet.queues(), speeds)


def speeds_of(lately: Iterable[FinishedRequest], epoch_s: float) -> Speeds:
    """Return tokens per second as requests have had them lately, by model and node: the mean of the last minute."""
    seen: dict[tuple[str, str], list[float]] = {}
    for one in lately:
        if one.tokens_per_s is not None and epoch_s - one.ended_epoch_s <= LATELY_S:
            seen.setdefault((one.model, one.node), []).append(one.tokens_per_s)
    return {place: round(sum(speeds) / len(speeds), 1) for place, speeds in seen.items()}


def fleet_picture(view: FleetView, queues: QueueList, speeds: Speeds) -> Filling:
    """Return the cards of all nodes, the totals and the queues."""
    cards = node_cards(view, speeds)
    return {
        "nodes": cards,
        "totals": _totals(cards, queues.waiting),
        "queues": sorted(queues.queues, key=_queue_order),
        "waiting": queues.waiting,
    }


def node_cards(view: FleetView, speeds: Speeds) -> tuple[NodeCard, ...]:
    """Return all nodes, in configured order; equal as long as they are to be shown alike."""
    replicas = replicas_by_node(view)
    entries = node_entries(view)
    loading = {report.id for node in view.nodes for report in node.models if report.status == "loading"}
    loads = {model: loads_of(view, model) for model in loading}
    return tuple(
        _card(node, entry, tuple(instances_on(node, replicas.get(node.name, {}), view.now_s)), loads, speeds)
        for node, entry in zip(view.nodes, entries, strict=True)
    )


def _card(
    node: NodeView,
    entry: NodeEntry,
    instances: tuple[InstanceEntry, ...],
    loads: dict[str, tuple[LoadState, ...]],
    speeds: Speeds,
) -> NodeCard:
    shown = sorted((one for one in instances if one.status in SHOWN_STATES), key=_instance_order)
    hues = hues_of([one.model for one in shown])
    reports = {report.id: report for report in node.models}
    rows = []
    for one in shown:
        report = reports.get(one.model)
        rows.append(
            InstanceRow(
                entry=steady_instance(one),
                hue=hues[one.model],
                waiting=report.waiting if report is not None else 0,
                is_silent=report is not None and report.silent_s is not None,
                load=next((load for load in loads.get(one.model, ()) if load.node == node.name), None),
                speed=speeds.get((one.model, node.name)),
            )
        )
    return NodeCard(
        entry=msgspec.structs.replace(entry, sample_age_s=None),
        is_tried=node.is_tried,
        is_stale=node.health is not None and node.health.stale,
        devices=_devices(node, hues),
        instances=tuple(rows),
        labels=node.discovery.labels if node.discovery is not None else {},
    )


def _devices(node: NodeView, hues: dict[str, int]) -> tuple[DeviceRow, ...]:
    if node.discovery is None:
        return ()
    readings = {reading.index: reading for reading in node.health.devices} if node.health is not None else {}
    memory = node.memory
    return tuple(
        DeviceRow(
            number=device.index,
            name=device.name,
            kind=device.kind,
            reading=readings.get(device.index, NOTHING),
            bar=bar_of(memory, device.index, hues) if memory is not None else None,
        )
        for device in node.discovery.devices
    )


def _totals(cards: tuple[NodeCard, ...], waiting: int) -> Totals:
    devices = [device for card in cards if card.entry.healthy for device in card.devices if device.kind != "cpu"]
    instances = [row.entry for card in cards for row in card.instances]
    bars = [device.bar for device in devices if device.bar is not None]
    return Totals(
        nodes=len(cards),
        healthy=sum(card.entry.healthy for card in cards),
        devices=len(devices),
        used_mb=sum(bar.total_mb - (bar.free_mb or 0) for bar in bars if bar.free_mb is not None),
        total_mb=sum(bar.total_mb for bar in bars),
        loaded=sum(one.status == "loaded" for one in instances),
        loading=sum(one.status == "loading" for one in instances),
        in_flight=sum(one.in_flight for one in instances),
        waiting=waiting,
    )


def steady_instance(one: InstanceEntry) -> InstanceEntry:
    """Return an instance that is equal as long as it is shown alike."""
    protected_s = steady(one.protected_s) if one.protected_s >= 10 else min(one.protected_s, 1.0)
    return msgspec.structs.replace(one, idle_s=steady(one.idle_s), protected_s=protected_s)


def _instance_order(one: InstanceEntry) -> tuple[int, str]:
    return SHOWN_STATES.index(one.status), one.model


def _queue_order(queue: QueueEntry) -> tuple[float, str]:
    return -queue.oldest_wait_s, queue.model
