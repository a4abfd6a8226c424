"""``cortex status`` and ``cortex models``: what a gateway knows of its fleet, as tables or as its own JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cortex.cli.client import Server
from cortex.cli.table import table

MAX_NAMES = 4


def show_status(gateway: Server, *, as_json: bool) -> None:
    """Print nodes, their devices and the instances on them."""
    health = gateway.get("/health", expected=(200, 503), holds=("status", "nodes"))
    models = gateway.get("/v1/models", holds=("data",))["data"]
    if as_json:
        _print_json({"health": health, "models": models})
        return
    nodes = health["nodes"]
    print(f"fleet: {health['status']}\n")
    print(table(("NODE", "STATE", "LOADED", "WHY"), [_node_row(node) for node in nodes]))
    devices = [_device_row(node, device) for node in nodes for device in node.get("devices", ())]
    if devices:
        print("\n" + table(("NODE", "DEVICE", "NAME", "USED MB", "TOTAL MB", "BUSY %"), devices))
    instances = [(model["id"], *_place_row(place)) for model in models for place in model.get("nodes", ())]
    if instances:
        print("\n" + table(("MODEL", "NODE", "STATUS", "DEVICES"), instances))


def show_models(gateway: Server, *, as_json: bool) -> None:
    """Print every model that can be asked for, loaded or not."""
    models = gateway.get("/v1/models", holds=("data",))["data"]
    if as_json:
        _print_json(models)
        return
    print(table(("MODEL", "STATUS", "NODES", "HARNESS", "CONTEXT", "ALIASES"), [_model_row(model) for model in models]))


def _node_row(node: Mapping[str, Any]) -> Sequence[object]:
    is_healthy = node["healthy"]
    return (
        node["name"],
        "healthy" if is_healthy else "unhealthy",
        _some(node.get("models", ())),
        "" if is_healthy else node.get("why"),
    )


def _some(names: Sequence[str]) -> str:
    """Return a list that leaves room for the rest of its row; all of it stands in the table of instances."""
    shown = names if len(names) <= MAX_NAMES else names[: MAX_NAMES - 1]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _device_row(node: Mapping[str, Any], device: Mapping[str, Any]) -> Sequence[object]:
    keys = ("index", "name", "vram_used_mb", "vram_total_mb", "utilization_pct")
    return (node["name"], *(device.get(key) for key in keys))


def _place_row(place: Mapping[str, Any]) -> Sequence[object]:
    return (place["node"], place["status"], ", ".join(str(index) for index in place.get("devices", ())))


def _model_row(model: Mapping[str, Any]) -> Sequence[object]:
    return (
        model["id"],
        model.get("status"),
        ", ".join(place["node"] for place in model.get("nodes", ())),
        model.get("harness"),
        model.get("context"),
        ", ".join(model.get("aliases") or ()),
    )


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())
