"""``cortex status`` and ``cortex models``: what a gateway knows of its fleet, as tables or as its own JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cortex.cli.client import Server
from cortex.cli.json_output import print_json
from cortex.cli.table import show

API = "/admin/v1"
Row = Sequence[object]


STATES = {"ok": 0, "degraded": 1, "down": 2}
"""How a fleet is, and the exit code that says so."""


def show_status(gateway: Server, *, as_json: bool) -> int:
    """Print nodes with their devices, the instances on them, and who waits; return the exit code."""
    nodes = gateway.get(f"{API}/nodes", holds=("nodes",))["nodes"]
    instances = gateway.get(f"{API}/instances", holds=("instances",))["instances"]
    queue = gateway.get(f"{API}/queue", holds=("waiting", "queues"))
    totals = _totals(nodes, queue)
    code = STATES[str(totals["status"])]
    if as_json:
        print_json({**totals, "nodes": nodes, "instances": instances, "queue": queue})
        return code
    requests = f"{totals['in_flight']} requests in flight, {totals['waiting']} waiting"
    print(f"fleet: {totals['status']}, {totals['healthy']} of {len(nodes)} nodes healthy, {requests}")
    _show_part(("NODE", "STATE", "IN FLIGHT", "WHY"), [_node_row(node) for node in nodes])
    devices = [_device_row(node, device) for node in nodes for device in node["devices"]]
    _show_part(("NODE", "DEVICE", "NAME", "USED MB", "TOTAL MB", "BUSY %"), devices)
    there = [one for one in instances if one["status"] != "unloaded" or one["error"] is not None]
    _show_part(("MODEL", "NODE", "STATE", "DEVICES", "IN FLIGHT", "NOTE"), [_instance_row(one) for one in there])
    _show_part(("MODEL", "WAITING", "OLDEST S", "CALLERS"), [_queue_row(one) for one in queue["queues"]])
    return code


def show_models(gateway: Server, *, as_json: bool) -> None:
    """Print every model that can be asked for, loaded or not."""
    models = gateway.get(f"{API}/models", holds=("models",))["models"]
    if as_json:
        print_json(models)
        return
    header = ("MODEL", "STATE", "NODES", "WAITING", "HARNESS", "VRAM MB", "ALIASES", "NOTE")
    show(header, [_model_row(model) for model in models])


def show_callers(gateway: Server, *, as_json: bool) -> None:
    """Print whose requests have caused loads and evictions, the dearest first."""
    callers = gateway.get(f"{API}/callers", holds=("callers",))["callers"]
    if as_json:
        print_json(callers)
        return
    keys = ("loads", "failures", "evictions", "loading_s", "cold_starts")
    header = ("CALLER", "LOADS", "FAILED", "EVICTIONS", "LOADING S", "COLD STARTS")
    show(header, [(one["caller"] or "(nobody)", *(one[key] for key in keys)) for one in callers])


def _totals(nodes: Sequence[Mapping[str, Any]], queue: Mapping[str, Any]) -> dict[str, object]:
    healthy = sum(node["healthy"] for node in nodes)
    return {
        "status": "down" if not healthy else "ok" if healthy == len(nodes) else "degraded",
        "healthy": healthy,
        "in_flight": sum(node["in_flight"] for node in nodes),
        "waiting": queue["waiting"],
    }


def _show_part(header: Sequence[str], rows: Sequence[Row]) -> None:
    if rows:
        print()
        show(header, rows)


def _node_row(node: Mapping[str, Any]) -> Row:
    state = "unhealthy" if not node["healthy"] else "maintenance" if node["maintenance"] else "healthy"
    why = node["why"] if not node["healthy"] else "; ".join(node["troubles"])
    return (node["name"], state, node["in_flight"], why)


def _device_row(node: Mapping[str, Any], device: Mapping[str, Any]) -> Row:
    keys = ("index", "name", "vram_used_mb", "vram_total_mb", "utilization_pct")
    return (node["name"], *(device[key] for key in keys))


def _instance_row(instance: Mapping[str, Any]) -> Row:
    devices = ", ".join(str(index) for index in instance["devices"])
    keys = (instance["model"], instance["node"], instance["status"], devices, instance["in_flight"])
    return (*keys, ", ".join(_notes_of(instance)))


def _notes_of(instance: Mapping[str, Any]) -> Iterator[str]:
    if instance["pinned"]:
        yield "pinned"
    if instance["progress"] is not None and instance["status"] == "loading":
        yield f"{instance['progress']:.0%}"
    if instance["error"] is not None:
        yield instance["error"]["message"]
    if instance["status"] == "loaded" and not instance["in_flight"] and instance["idle_s"] is not None:
        yield f"idle {instance['idle_s']:.0f} s"


def _queue_row(queue: Mapping[str, Any]) -> Row:
    callers = ", ".join(f"{name or '(nobody)'}: {count}" for name, count in queue["by_caller"].items())
    return (queue["model"], queue["waiting"], f"{queue['oldest_wait_s']:.1f}", callers)


def _model_row(model: Mapping[str, Any]) -> Row:
    notes = [f"loading on {load['node']} for {load['for_s']:.0f} s" for load in model["loading"]]
    notes += [f"failed on {held['node']}, again in {held['retry_in_s']:.0f} s" for held in model["held"]]
    return (
        model["id"],
        model["status"],
        ", ".join(model["nodes"]),
        model["waiting"] or None,
        model["harness"],
        model["vram_mb"],
        ", ".join(model["aliases"]),
        "; ".join(notes),
    )
