"""Nodes taken out for maintenance and taken back; shown first is what of theirs would go where.

What is shown is what is likely: the steward moves one after the other, and looks anew each time (``fleet/move.py``).
"""

from typing import NamedTuple

from cortex.contract.admin import ExplainQuery, InstanceEntry
from cortex.contract.error import NodeNotFound
from cortex.fleet.estate import COLD_S
from cortex.fleet.explain import NodeNote
from cortex.fleet.resolve import describe_unknown_node
from cortex.fleet.view import FleetView, NodeView
from cortex.gateway.admin.dashboard.model_page import name_in
from cortex.gateway.admin.dashboard.page import Call, Desk, Reply
from cortex.gateway.admin.entry import instance_entries
from cortex.gateway.ports import FleetAdmin

HOLDING = ("loading", "loaded", "draining", "unloading")


class Move(NamedTuple):
    """What would become of one instance; ``evicts``: who would have to go for it."""

    one: InstanceEntry
    words: str
    evicts: tuple[str, ...] = ()


async def show_drain(desk: Desk, call: Call) -> Reply:
    """Show what would leave, and where to. Raises: NodeNotFound."""
    view = desk.fleet.view()
    node = _node(view, name_in(call.query, "node"))
    return Reply("drain_sheet.html", {"node": node.name, "moves": moves_from(desk.fleet, view, node.name)})


async def show_undrain(desk: Desk, call: Call) -> Reply:
    """Show what it means to take a node back. Raises: NodeNotFound."""
    return Reply("undrain_sheet.html", {"node": _node(desk.fleet.view(), name_in(call.query, "node")).name})


async def drain(desk: Desk, call: Call) -> Reply:
    """Take a node out. Raises: CortexError that says why not."""
    outcome = await desk.fleet.maintain(name_in(call.form, "node"), is_on=True)
    return _done(outcome.node, "Nothing new is placed there; what is there leaves, one after the other.")


async def undrain(desk: Desk, call: Call) -> Reply:
    """Take a node back. Raises: CortexError that says why not."""
    outcome = await desk.fleet.maintain(name_in(call.form, "node"), is_on=False)
    return _done(outcome.node, "It takes models again.")


def moves_from(fleet: FleetAdmin, view: FleetView, node: str) -> tuple[Move, ...]:
    """Return what would become of everything on a node."""
    held = [one for one in instance_entries(view) if one.node == node and one.status in HOLDING]
    return tuple(_move(fleet, view, one) for one in held)


def _move(fleet: FleetAdmin, view: FleetView, one: InstanceEntry) -> Move:
    if not one.generation:
        return Move(one, "stays: it runs by itself")
    others = [
        other.node
        for other in instance_entries(view)
        if other.model == one.model and other.node != one.node and other.ready
    ]
    if others:
        return Move(one, f"is unloaded: {', '.join(others)} has it")
    if one.idle_s is not None and one.idle_s >= COLD_S and not one.pinned:
        return Move(one, f"is unloaded unless it is to be kept: nobody has used it for {one.idle_s / 60:.0f} min")
    notes = [note for note in fleet.explain(ExplainQuery(model=one.model)).nodes if note.node != one.node]
    best = min((note for note in notes if note.rank is not None), key=lambda note: note.rank or 0, default=None)
    return _elsewhere(one, best)


def _elsewhere(one: InstanceEntry, best: NodeNote | None) -> Move:
    if best is None:
        return Move(one, "stays until it is idle: no other node has room for it")
    evicts = tuple(note.model for note in best.instances if note.goes)
    return Move(one, f"is loaded on {best.node} first, then unloaded here", evicts)


def _node(view: FleetView, name: str) -> NodeView:
    for node in view.nodes:
        if node.name == name:
            return node
    raise NodeNotFound(describe_unknown_node(name, [node.name for node in view.nodes]), node=name)


def _done(node: str, said: str) -> Reply:
    return Reply("done_sheet.html", {"about": node, "said": said, "reason": ""})
