"""The nodes of a replay: from a small TOML, from neurons that are asked, or from ``NAME=24000x2`` on the command line.

```toml
load_mb_per_s = 400          # how fast engines load where nobody has measured it

[[nodes]]
name = "beast"
devices_mb = [32000, 32000]
headroom_mb = 512

[load_s]                     # measured load times, by model
"Qwen/Qwen3-8B" = 12.0
```
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cortex.contract.error import ConfigError
from cortex.kit.settings import read_toml
from cortex.kit.strict import convert

LOAD_MB_PER_S = 400.0
"""An engine that maps its file from a disk that is neither fast nor slow."""
MOST_DEVICES = 64
"""Of one node: several times what any host has."""
BEGIN_S = 2.0
"""What an engine takes to start, its file aside."""


class ReplayNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node: its devices' memory, MiB each. ``harnesses``: what it offers; none: whatever is asked for."""

    name: str
    devices_mb: tuple[int, ...]
    headroom_mb: int = 512


class ReplayFleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fleet that a trace is played on."""

    nodes: tuple[ReplayNode, ...] = ()
    load_mb_per_s: float = LOAD_MB_PER_S
    load_s: dict[str, float] = {}

    def load_s_of(self, model: str, vram_mb: int) -> float:
        """Return how long a model takes to load."""
        return self.load_s.get(model, BEGIN_S + vram_mb / self.load_mb_per_s)


def read_fleet(path: Path) -> ReplayFleet:
    """Return the fleet of a TOML file. Raises: ConfigError."""
    return convert(read_toml(path), ReplayFleet, source=str(path))


def asked_fleet(neurons: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]) -> ReplayFleet:
    """Return the fleet of neurons that answered: ``(GET /discovery, GET /models)`` by name."""
    nodes: list[ReplayNode] = []
    load_s: dict[str, float] = {}
    for name, (discovery, models) in neurons.items():
        devices = tuple(int(device["vram_total_mb"]) for device in discovery["devices"])
        nodes.append(ReplayNode(name=name, devices_mb=devices, headroom_mb=int(discovery.get("headroom_mb", 512))))
        load_s |= {str(model["id"]): float(model["load_s"]) for model in models if model.get("load_s") is not None}
    return ReplayFleet(nodes=tuple(nodes), load_s=load_s)


def parse_node(text: str) -> ReplayNode:
    """Return the node of ``NAME=MB`` or ``NAME=MBxCOUNT``. Raises: ConfigError."""
    name, equals, devices = text.partition("=")
    size, times, count = devices.partition("x")
    if not (name and equals and size.isdigit() and (not times or count.isdigit()) and int(size) > 0):
        raise ConfigError(f"--add-node: expected NAME=MBxCOUNT, like beast=32000x2, got '{text}'")
    if times and not 1 <= int(count) <= MOST_DEVICES:
        raise ConfigError(f"--add-node: expected a COUNT of devices from 1 to {MOST_DEVICES}, got '{text}'")
    return ReplayNode(name=name, devices_mb=(int(size),) * (int(count) if times else 1))


def changed(fleet: ReplayFleet, added: Sequence[ReplayNode], removed: Sequence[str]) -> ReplayFleet:
    """Return the fleet with nodes more and less; one that has the name already gets the devices besides its own.

    Raises: ConfigError for a node to remove that is not there.
    """
    nodes = {node.name: node for node in fleet.nodes}
    for name in removed:
        if nodes.pop(name, None) is None:
            raise ConfigError(f"--remove-node: there is no node '{name}'; there are: {', '.join(nodes) or 'none'}")
    for node in added:
        held = nodes.get(node.name)
        more = node if held is None else msgspec.structs.replace(held, devices_mb=held.devices_mb + node.devices_mb)
        nodes[node.name] = more
    return msgspec.structs.replace(fleet, nodes=tuple(nodes.values()))
