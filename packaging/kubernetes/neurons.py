"""Writes ``conf.d/neurons.toml`` from the nodes of a cluster: ``kubectl get nodes -l … -o json | python3 neurons.py``.

A node's name is its name in the fleet, its InternalIP where its neuron is reached (hostPort). Gateways read the list at
their start, so a new node is known after the next ``kubectl apply -k``, which rolls them out. Needs nothing but Python.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

HEAD = "# From the nodes of the cluster, by neurons.py.\n"
ENTRY = """
[[neurons]]
name = {name}
endpoint = {endpoint}
token_file = {token_file}
"""


def render(nodes: Iterable[dict[str, Any]], *, port: int, token_file: str) -> str:
    """Return the file for nodes as the API has them, by name. Raises ValueError where there is none, or no address."""
    addresses = {node["metadata"]["name"]: address_of(node) for node in nodes}
    if not addresses:
        raise ValueError("no node: does the label of kubectl's -l stand on your GPU nodes?")
    entries = (
        ENTRY.format(
            name=json.dumps(name),
            endpoint=json.dumps(f"http://{f'[{address}]' if ':' in address else address}:{port}"),
            token_file=json.dumps(token_file),
        )
        for name, address in sorted(addresses.items())
    )
    return HEAD + "".join(entries)


def address_of(node: dict[str, Any]) -> str:
    """Return a node's own address in the cluster's network."""
    found = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    if not found:
        raise ValueError(f"node {node['metadata']['name']} has no InternalIP")
    return str(found[0])


def main() -> int:
    """Read a list of nodes, or one, from standard input and print the file."""
    parser = argparse.ArgumentParser(description="Write conf.d/neurons.toml from `kubectl get nodes -o json`.")
    parser.add_argument("--port", type=int, default=9090, help="hostPort of the neurons (default: 9090)")
    parser.add_argument("--token-file", default="/run/cortex-neuron/token", help="where gateways find the token")
    args = parser.parse_args()
    try:
        told = json.load(sys.stdin)
        text = render(told.get("items", [told]), port=args.port, token_file=args.token_file)
    except (ValueError, KeyError) as exc:
        print(f"neurons.py: {exc}", file=sys.stderr)
        return 1
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
