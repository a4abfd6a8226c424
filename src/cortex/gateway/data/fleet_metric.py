"""The fleet as this gateway sees it, for Prometheus: which nodes answer and what they have, where models can be used.

Made of one picture when it is asked for. A model is in it when the catalogue or a node knows it, so no caller can add
one.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from cortex.fleet.view import FleetView, ModelView, NodeView
from cortex.gateway.data.metric import gauge

NODE = ("node",)


def fleet_metrics(view: FleetView) -> Iterator[Metric]:
    """Yield every metric of a picture."""
    yield from _of_nodes(view.nodes)
    yield from _of_models(view.models)


def idle_places(view: FleetView) -> dict[tuple[str, ...], float]:
    """Return 0 for every model and node where requests could be: a line that ends is no line that falls to 0."""
    return {(model.id, replica.node): 0.0 for model in view.models for replica in model.replicas}


def _of_nodes(nodes: tuple[NodeView, ...]) -> Iterator[Metric]:
    healthy = [((node.name,), float(node.is_healthy)) for node in nodes]
    yield gauge("cortex_node_healthy", "1: the neuron answers.", NODE, healthy)
    asked = [(node.name, node.health) for node in nodes if node.health is not None]
    stale = [((name,), float(health.stale)) for name, health in asked]
    yield gauge("cortex_node_stale", "1: what it tells of its devices is too old.", NODE, stale)
    drained = [((name,), float(health.maintenance)) for name, health in asked]
    yield gauge("cortex_node_maintenance", "1: nothing new is loaded there.", NODE, drained)
    troubles = [((node.name,), float(len(_troubles(node)))) for node in nodes]
    yield gauge("cortex_node_troubles", "What is wrong there, or on the way there.", NODE, troubles)
    known = [(node.name, node.discovery) for node in nodes if node.discovery is not None]
    devices = [
        ((name, kind), float(count))
        for name, discovery in known
        for kind, count in Counter(device.kind for device in discovery.devices).items()
    ]
    yield gauge("cortex_node_devices", "Devices that it has.", ("node", "kind"), devices)
    info = [((name, told.neuron_version, told.driver_version or ""), 1.0) for name, told in known]
    skew = [((node.name,), float(node.version_skew)) for node in nodes if node.version_skew is not None]
    yield gauge("cortex_node_version_skew", "Minor versions between it and this gateway.", NODE, skew)
    yield gauge("cortex_node_info", "Always 1.", ("node", "version", "driver_version"), info)


def _troubles(node: NodeView) -> tuple[str, ...]:
    return (*node.troubles, *(node.discovery.troubles if node.discovery is not None else ()))


def _of_models(models: tuple[ModelView, ...]) -> Iterator[Metric]:
    ready = [((model.id,), float(sum(replica.is_ready for replica in model.replicas))) for model in models]
    yield gauge("cortex_model_ready_replicas", "Places where it can be used now.", ("model",), ready)
    waiting = [((model.id,), float(model.waiting)) for model in models]
    yield gauge("cortex_model_requests_waiting", "Requests that wait for it.", ("model",), waiting)
    failing = [((failure.model, failure.node), float(failure.faults)) for one in models for failure in one.failures]
    yield gauge("cortex_model_failing", "Loads in a row that failed there.", ("model", "node"), failing)
