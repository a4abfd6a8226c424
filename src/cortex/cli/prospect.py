"""``cortex explain`` and ``cortex plan``: where a model would go, why not elsewhere, and what it would cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from cortex.cli.client import Server
from cortex.cli.json_output import print_json
from cortex.cli.table import show

OUTCOMES = {
    "served": "served at once",
    "joins": "waits for the load that is under way",
    "loads": "loaded",
    "waits": "waits",
    "refused": "refused for now",
    "never": "refused: no node can ever serve it",
}

Asked = Mapping[str, object]


def show_explanation(gateway: Server, asked: Asked, *, as_json: bool) -> None:
    """Print for every node why a model would be loaded there or not."""
    said = gateway.get(f"/admin/v1/explain?{_query(asked)}", holds=("model", "nodes"))
    if as_json:
        print_json(said)
        return
    need = "nobody knows what it needs" if said["need_mb"] is None else f"it needs {said['need_mb']} MiB"
    print(f"{said['model']}: {need}; eviction by {said['strategy']}\n")
    header = ("RANK", "NODE", "VERDICT", "COST S", "WHY")
    show(header, [_node_row(node) for node in said["nodes"]])
    devices = [_device_row(node, device) for node in said["nodes"] for device in node["devices"]]
    if devices:
        print()
        show(("NODE", "DEVICE", "TOTAL MB", "FREE MB", "NEEDS MB", "MISSING MB"), devices)
    instances = [_instance_row(node, one) for node in said["nodes"] for one in node["instances"]]
    if instances:
        print()
        show(("NODE", "INSTANCE", "STATE", "HOLDS MB", "GOES", "WHY"), instances)


def show_plan(gateway: Server, asked: Asked, *, as_json: bool) -> None:
    """Print what would happen if a model was asked for now."""
    said = gateway.get(f"/admin/v1/plan?{_query(asked)}", holds=("model", "outcome"))
    if as_json:
        print_json(said)
        return
    for line in _plan_lines(said):
        print("".join(char if char.isprintable() else "?" for char in line))


def _plan_lines(said: Mapping[str, Any]) -> Iterator[str]:
    where = f" on {said['node']}" if said["node"] else ""
    devices = ", ".join(str(index) for index in said["devices"])
    on = f", device {devices}" if devices else ""
    yield f"{said['model']}: {OUTCOMES.get(said['outcome'], said['outcome'])}{where}{on}"
    if said["reason"]:
        yield f"  why: {said['reason']}"
    for victim in said["evicts"]:
        idle = "" if victim["idle_s"] is None else f", idle for {victim['idle_s']:.0f} s"
        yield f"  has to go: {victim['model']} ({victim['held_mb']} MiB{idle})"
    if said["cost_s"] is not None:
        terms = ", ".join(f"{name} {value:.1f}" for name, value in said["terms"].items() if value)
        yield f"  cost: {said['cost_s']:.1f} s" + (f" ({terms})" if terms else "")
    if said["retry_in_s"] is not None:
        yield f"  perhaps in {said['retry_in_s']:.0f} s"


def _node_row(node: Mapping[str, Any]) -> Sequence[object]:
    cost = None if node["cost_s"] is None else f"{node['cost_s']:.1f}"
    retry = "" if node["retry_in_s"] is None else f" (perhaps in {node['retry_in_s']:.0f} s)"
    return (node["rank"], node["node"], node["verdict"].replace("_", " "), cost, node["why"] + retry)


def _device_row(node: Mapping[str, Any], device: Mapping[str, Any]) -> Sequence[object]:
    missing = device["missing_mb"] or None
    keys = (device["index"], device["total_mb"], device["free_mb"], device["need_mb"])
    return (node["node"], *keys, missing)


def _instance_row(node: Mapping[str, Any], one: Mapping[str, Any]) -> Sequence[object]:
    goes = "yes" if one["goes"] else None
    return (node["node"], one["model"], one["status"], one["held_mb"], goes, one["why"])


def _query(asked: Asked) -> str:
    return urlencode({key: value for key, value in asked.items() if value is not None})
