"""What the front door may know of the fleet: implements ``ports.FleetReads`` from pictures of the dispatcher's books.

A model of a node that is not healthy is shown only while requests are still sent to it.
"""

from collections.abc import Mapping

from cortex.contract.instance import BEST_FIRST
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.effect import Target
from cortex.fleet.view import FleetView, ModelView, NodeView
from cortex.kit.clock import Clock


class FleetReader:
    """Reads; changes nothing."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    def model_entries(self) -> list[dict[str, object]]:
        """See ``ports.FleetReads``."""
        view = self._view()
        return [_entry(model, view.nodes) for model in view.models]

    def health(self) -> dict[str, object]:
        """See ``ports.FleetReads``. ``models`` are the ids of those loaded."""
        view = self._view()
        healthy = sum(node.is_healthy for node in view.nodes)
        is_well = healthy == len(view.nodes) and not any(node.troubles for node in view.nodes)
        status = "down" if not healthy else "ok" if is_well else "degraded"
        return {"status": status, "nodes": [_node_entry(node) for node in view.nodes]}

    def node_states(self) -> list[tuple[str, bool]]:
        """Return (node, whether it is healthy) of every configured node."""
        return [(node.name, node.is_healthy) for node in self._view().nodes]

    def is_ready(self) -> bool:
        """See ``ports.FleetReads``."""
        return self._dispatcher.are_all_nodes_tried()

    def place_of(self, name: str) -> Target | None:
        """See ``ports.FleetReads``."""
        return self._dispatcher.place_of(name, self._clock.now_s())

    def _view(self) -> FleetView:
        return self._dispatcher.view(self._clock.now_s())


def _entry(model: ModelView, nodes: tuple[NodeView, ...]) -> dict[str, object]:
    profile = model.profile
    places = [place for node in nodes if (place := _place(model, node)) is not None]
    statuses = [place["status"] for place in places]
    harnesses = [report.harness for node in nodes if (report := node.report_of(model.id)) is not None]
    return {
        "id": model.id,
        "status": min(statuses, key=BEST_FIRST.index, default="unloaded"),
        "nodes": places,
        "context": _context(model),
        "aliases": list(profile.aliases) if profile is not None else [],
        "capabilities": list(profile.capabilities) if profile is not None else [],
        "harness": profile.harness if profile is not None else next(iter(harnesses), ""),
    }


def _context(model: ModelView) -> int | None:
    """Return how many tokens a request may have: what the catalogue says, else the least of where the model is."""
    if model.profile is not None and model.profile.context is not None:
        return model.profile.context
    return min([replica.context for replica in model.replicas if replica.context is not None], default=None)


def _place(model: ModelView, node: NodeView) -> Mapping[str, object] | None:
    """Return the model's state on one node, None where it has none worth showing."""
    report = node.report_of(model.id)
    replica = next((replica for replica in model.replicas if replica.node == node.name), None)
    devices = list(report.devices) if report is not None else []
    if replica is not None and replica.is_ready:
        return {"node": node.name, "status": "loaded", "devices": devices}
    if model.loading_on == node.name:
        return {"node": node.name, "status": "loading", "devices": devices}
    if report is None or not node.is_healthy:
        return None
    return {"node": node.name, "status": report.status, "devices": devices}


def _node_entry(node: NodeView) -> dict[str, object]:
    loaded = sorted(report.id for report in node.models if report.status == "loaded")
    return {
        "name": node.name,
        "healthy": node.is_healthy,
        "why": node.why,
        "troubles": list(node.troubles),
        "models": loaded,
        "devices": _device_entries(node),
    }


def _device_entries(node: NodeView) -> list[dict[str, object]]:
    """Return the node's devices as last discovered, with the last sample's readings."""
    if node.discovery is None:
        return []
    readings = {reading.index: reading for reading in node.health.devices} if node.health is not None else {}
    found = []
    for device in node.discovery.devices:
        reading = readings.get(device.index)
        found.append(
            {
                "index": device.index,
                "name": device.name,
                "vram_total_mb": device.vram_total_mb,
                "vram_used_mb": reading.vram_used_mb if reading is not None else None,
                "utilization_pct": reading.utilization_pct if reading is not None else None,
            }
        )
    return found
