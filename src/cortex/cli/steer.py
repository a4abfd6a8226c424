"""What an operator does to the fleet through the gateway: load, unload, pin, drain. Each says in a line what came.

Where a model is on one node only, the node need not be named.
"""

from typing import Any
from urllib.parse import quote

from cortex.cli.client import Server
from cortex.cli.json_output import print_json
from cortex.cli.load_bar import bar, going_on, watched
from cortex.contract.error import ConfigError

API = "/admin/v1"


def load(
    gateway: Server, model: str, node: str | None, *, wait: bool, as_json: bool, looks: Server | None = None
) -> None:
    """Load a model; without a node where it fits best. ``looks`` is asked meanwhile how far it is."""
    call = {"model": model, "node": node, "wait": wait}
    if wait:
        with (
            going_on("cortex load", model),
            bar(model, as_json=as_json) as tell,
            watched(looks or gateway, model, tell),
        ):
            said = gateway.post(f"{API}/load", call)
    else:
        said = gateway.post(f"{API}/load", call)
    where = f" on {said['node']}" if said.get("node") else ""
    why = f" ({said['reason']})" if said.get("reason") and said["status"] != "loaded" else ""
    _tell(said, f"{said['model']}: {said['status']}{where}{why}", as_json=as_json)


def unload(gateway: Server, model: str, node: str | None, *, force: bool, wait: bool, as_json: bool) -> None:
    """Unload a model from a node."""
    at = node or the_node(gateway, model)
    said = gateway.post(f"{API}/unload", {"model": model, "node": at, "force": force, "wait": wait})
    _tell(said, f"{said['model']}: {said['status']} on {said['node']}", as_json=as_json)


def pin(gateway: Server, model: str, node: str | None, *, pinned: bool | None, as_json: bool) -> None:
    """Pin a model on a node, or not; None: as the catalogue says."""
    at = node or the_node(gateway, model)
    said = gateway.post(f"{API}/pin", {"model": model, "node": at, "pinned": pinned})
    state = "pinned" if said["pinned"] else "not pinned"
    _tell(said, f"{said['model']}: {state} on {said['node']}", as_json=as_json)


def maintain(gateway: Server, node: str, *, is_on: bool, as_json: bool) -> None:
    """Take a node out, or back."""
    said = gateway.post(f"{API}/nodes/{_quoted(node)}/{'drain' if is_on else 'undrain'}", {})
    state = "nothing new is placed there" if said["maintenance"] else "used again"
    _tell(said, f"{said['node']}: {state}", as_json=as_json)


def the_node(gateway: Server, model: str) -> str:
    """Return the only node that has a model. Raises: ConfigError when there is not exactly one."""
    known = gateway.get(f"{API}/models/{_quoted(model)}", holds=("id", "nodes"))
    nodes = [str(node) for node in known["nodes"]]
    if len(nodes) == 1:
        return nodes[0]
    if not nodes:
        raise ConfigError(f"{known['id']} is loaded on no node: name one with --node")
    raise ConfigError(f"{known['id']} is on several nodes: choose one with --node: {', '.join(nodes)}")


def _tell(said: Any, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(said)
    else:
        print(words)


def _quoted(name: str) -> str:
    return quote(name, safe="")
