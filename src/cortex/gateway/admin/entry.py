"""From a picture of the fleet to what the admin API shows of nodes and instances. Pure; changes nothing."""

from collections.abc import Iterator, Mapping

import msgspec

from cortex.contract.admin import DeviceEntry, HarnessEntry, InstanceEntry, NodeEntry
from cortex.contract.instance import InstanceReport
from cortex.contract.node import Device, DeviceReading, HarnessDetail, HarnessHealth
from cortex.fleet.view import FleetView, NodeView, ReplicaView

NO_READING = DeviceReading(index=-1)


def node_entries(view: FleetView) -> tuple[NodeEntry, ...]:
    """Return all nodes, in configured order."""
    in_flight: dict[str, int] = {}
    for model in view.models:
        for replica in model.replicas:
            in_flight[replica.node] = in_flight.get(replica.node, 0) + replica.in_flight
    return tuple(node_entry(node, in_flight.get(node.name, 0)) for node in view.nodes)


def node_entry(node: NodeView, in_flight: int) -> NodeEntry:
    """Return one node; ``in_flight``: this gateway's requests there."""
    discovery, health = node.discovery, node.health
    readings = {reading.index: reading for reading in health.devices} if health is not None else {}
    states = {state.name: state for state in health.harnesses} if health is not None else {}
    return NodeEntry(
        name=node.name,
        healthy=node.is_healthy,
        why=node.why,
        maintenance=health is not None and health.maintenance,
        hostname=discovery.hostname if discovery else None,
        os=discovery.os if discovery else None,
        driver_version=discovery.driver_version if discovery else None,
        neuron_version=discovery.neuron_version if discovery else None,
        headroom_mb=discovery.headroom_mb if discovery else None,
        sample_age_s=health.sample_age_s if health else None,
        loaded=tuple(sorted(report.id for report in node.models if report.status == "loaded")),
        in_flight=in_flight,
        devices=tuple(
            _device_entry(device, readings.get(device.index, NO_READING))
            for device in (discovery.devices if discovery else ())
        ),
        harnesses=tuple(
            _harness_entry(detail, states.get(detail.name))
            for detail in (discovery.harness_details if discovery else ())
        ),
        troubles=(*node.troubles, *(discovery.troubles if discovery else ())),
    )


def instance_entries(view: FleetView) -> list[InstanceEntry]:
    """Return all instances, by model and node; those that only this gateway still knows of among them."""
    replicas = replicas_by_node(view)
    found = [entry for node in view.nodes for entry in instances_on(node, replicas.get(node.name, {}), view.now_s)]
    return sorted(found, key=lambda entry: (entry.model, entry.node))


def replicas_by_node(view: FleetView) -> dict[str, dict[str, ReplicaView]]:
    """Return what this gateway uses, by node and model."""
    found: dict[str, dict[str, ReplicaView]] = {}
    for model in view.models:
        for replica in model.replicas:
            found.setdefault(replica.node, {})[model.id] = replica
    return found


def instances_on(node: NodeView, replicas: Mapping[str, ReplicaView], now_s: float) -> Iterator[InstanceEntry]:
    """Go through the instances of one node; ``replicas``: what this gateway uses there, by model."""
    reports = {report.id: report for report in node.models}
    for model in reports.keys() | replicas.keys():
        report = reports.get(model)
        aged = _aged(report, node, now_s) if report is not None else None
        yield _instance_entry(model, node.name, aged, replicas.get(model))


def _aged(report: InstanceReport, node: NodeView, now_s: float) -> InstanceReport:
    """Return what a node said of an instance as it is by now, where time alone changes it."""
    return msgspec.structs.replace(
        report, idle_s=node.idle_s(report, now_s), protected_s=node.protected_s(report, now_s)
    )


def _device_entry(device: Device, reading: DeviceReading) -> DeviceEntry:
    return DeviceEntry(
        index=device.index,
        name=device.name,
        kind=device.kind,
        vram_total_mb=device.vram_total_mb,
        vram_used_mb=reading.vram_used_mb,
        vram_free_mb=reading.vram_free_mb,
        strangers_mb=reading.strangers_mb,
        reserved_mb=reading.reserved_mb,
        utilization_pct=reading.utilization_pct,
        temp_c=reading.temp_c,
        power_w=reading.power_w,
        trouble=reading.trouble,
    )


def _harness_entry(detail: HarnessDetail, state: HarnessHealth | None) -> HarnessEntry:
    return HarnessEntry(
        name=detail.name,
        kind=detail.kind,
        usable=detail.usable,
        why_not=detail.why_not,
        version=detail.version,
        healthy=state.healthy if state else None,
        cycles=state.cycles if state else None,
        restart_due=state.restart_due if state else None,
    )


def _instance_entry(model: str, node: str, report: InstanceReport | None, replica: ReplicaView | None) -> InstanceEntry:
    said = report or InstanceReport(id=model, harness="", status="loaded")
    return InstanceEntry(
        model=model,
        node=node,
        status=said.status,
        ready=replica is not None and replica.is_ready,
        devices=said.devices,
        harness=said.harness,
        generation=said.generation or (replica.generation if replica else 0),
        pinned=said.pinned,
        vram_used_mb=said.vram_used_mb,
        declared_mb=said.declared_mb,
        in_flight=replica.in_flight if replica else 0,
        parallel=said.parallel,
        slots=replica.slots if replica else None,
        idle_s=said.idle_s,
        protected_s=said.protected_s,
        progress=said.progress,
        load_s=said.load_s,
        error=said.error,
    )
