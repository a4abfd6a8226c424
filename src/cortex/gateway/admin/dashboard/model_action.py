"""What is done with models: loaded, unloaded, pinned. Each is shown first, with who has to go for it, and then done.

Who goes is planned anew when it is done. Of a load the form says whom it has shown; if another one would have to go by
now, it is shown again and nothing is done.
"""

from cortex.contract.admin import InstanceEntry, LoadCall, PinCall, UnloadCall
from cortex.contract.error import MalformedRequest
from cortex.fleet.prospect import Prospect
from cortex.fleet.view import FleetView
from cortex.gateway.admin.dashboard.model_page import find_row, name_in, profile_of, prospect
from cortex.gateway.admin.dashboard.page import Call, Desk, Query, Reply
from cortex.gateway.admin.entry import instance_entries

PINS = {"true": True, "false": False, "catalogue": None}


async def show_load(desk: Desk, call: Call) -> Reply:
    """Show what a load would do, here or wherever it fits best. Raises: ModelNotFound."""
    return _load_sheet(desk, name_in(call.query, "model"), call.query.get("node") or None, is_otherwise=False)


async def load(desk: Desk, call: Call) -> Reply:
    """Load a model. Raises: CortexError that says why not."""
    model, node = name_in(call.form, "model"), call.form.get("node") or None
    shown = set(call.form.get("evicts", "").split("\n"))
    if {note.model for note in prospect(desk.fleet, model, node).evicts} - shown:
        return _load_sheet(desk, model, node, is_otherwise=True)
    outcome = await desk.fleet.load(LoadCall(model=model, node=node))
    where = f" on {outcome.node}" if outcome.node else ""
    words = {"loaded": f"It is loaded{where}.", "loading": f"It is loading{where}."}
    said = words.get(outcome.status, f"It waits{where}: for room, or for its turn.")
    return _done(outcome.model, said, outcome.reason)


def _load_sheet(desk: Desk, name: str, node: str | None, *, is_otherwise: bool) -> Reply:
    view = desk.fleet.view()
    row = find_row(view, name)
    found = prospect(desk.fleet, row.entry.id, node)
    filling = {
        "model": row.entry,
        "node": node or "",
        "nodes": [one.name for one in view.nodes],
        "prospect": found,
        "words": prospect_words(found),
        "is_otherwise": is_otherwise,
        "nothing_to_do": ("served", "joins", "never"),
    }
    return Reply("load_sheet.html", filling)


def prospect_words(found: Prospect) -> str:
    """Return in a sentence what a load would come to."""
    where = f" on {found.node}" if found.node else ""
    devices = f", device {', '.join(map(str, found.devices))}" if found.devices else ""
    words = {
        "served": f"It is loaded{where} already.",
        "joins": f"It is there{where} already, or is being loaded.",
        "loads": f"It would be loaded{where}{devices}.",
        "waits": f"It would wait{where}.",
        "refused": "It would be refused for now.",
        "never": "No node can load it.",
    }
    return words[found.outcome]


async def show_unload(desk: Desk, call: Call) -> Reply:
    """Show what runs there, and what would become of the model. Raises: ModelNotFound, MalformedRequest."""
    view = desk.fleet.view()
    row = find_row(view, name_in(call.query, "model"))
    one = _instance(view, row.entry.id, name_in(call.query, "node"))
    others = [other.node for other in row.instances if other.node != one.node and other.status == "loaded"]
    profile = profile_of(view, one.model)
    keeps = "the catalogue wants it loaded from the start" if profile.preload else ""
    if profile.min_replicas > len(others):
        keeps = f"the catalogue wants {profile.min_replicas} of it loaded"
    discovery = next((node.discovery for node in view.nodes if node.name == one.node), None)
    filling = {
        "one": one,
        "others": others,
        "waiting": row.entry.waiting,
        "keeps": keeps,
        "limit_s": discovery.drain_timeout_s if discovery is not None else None,
    }
    return Reply("unload_sheet.html", filling)


async def unload(desk: Desk, call: Call) -> Reply:
    """Unload a model. Raises: CortexError that says why not."""
    wish = UnloadCall(
        model=name_in(call.form, "model"), node=name_in(call.form, "node"), force=call.form.get("force") == "yes"
    )
    outcome = await desk.fleet.unload(wish)
    words = {"unloaded": f"It is unloaded from {outcome.node}."}
    said = words.get(outcome.status, f"It leaves {outcome.node} when what runs there is over.")
    return _done(outcome.model, said, "")


async def show_pin(desk: Desk, call: Call) -> Reply:
    """Show what a pin means. Raises: ModelNotFound, MalformedRequest."""
    view = desk.fleet.view()
    row = find_row(view, name_in(call.query, "model"))
    one = _instance(view, row.entry.id, name_in(call.query, "node"))
    is_in_catalogue = one.node in profile_of(view, one.model).pinned_on
    return Reply("pin_sheet.html", {"one": one, "pinned": _pin(call.query), "is_in_catalogue": is_in_catalogue})


async def pin(desk: Desk, call: Call) -> Reply:
    """Pin a model, or unpin it. Raises: CortexError that says why not."""
    wish = PinCall(model=name_in(call.form, "model"), node=name_in(call.form, "node"), pinned=_pin(call.form))
    outcome = await desk.fleet.pin(wish)
    return _done(outcome.model, f"It is {'pinned' if outcome.pinned else 'not pinned'} on {outcome.node}.", "")


def _pin(query: Query) -> bool | None:
    text = query.get("pinned", "")
    if text not in PINS:
        raise MalformedRequest(f"pinned: expected one of {', '.join(PINS)}.", param="pinned")
    return PINS[text]


def _instance(view: FleetView, model: str, node: str) -> InstanceEntry:
    for one in instance_entries(view):
        if (one.model, one.node) == (model, node):
            return one
    raise MalformedRequest(f"{model} is not on {node[:100]!r} any more.", param="node")


def _done(model: str, said: str, reason: str) -> Reply:
    return Reply("done_sheet.html", {"about": model, "said": said, "reason": reason})
