"""What would happen if a request for a model came now, or an operator wished for it: told, not done.

1. nobody asks for a node, and it is loaded: served there, or behind others;
2. it is being loaded (there), or is there and not reached yet: joined;
3. a node has a plan: loaded there, on those devices, those going that have to;
4. something is in the way that passes by itself: waits for it, at the node where that is soonest;
5. a node could, but not now: refused for now;
6. no node can: refused for good.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, Literal

import msgspec

from cortex.contract.admin import ExplainQuery
from cortex.fleet.explain import Explanation, InstanceNote, NodeNote
from cortex.fleet.load_book import CAPACITY_CODES
from cortex.fleet.load_choice import PASSING_BY
from cortex.fleet.view import ModelView

ProspectKind = Literal["served", "joins", "loads", "waits", "refused", "never"]


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. ``evicts``: who would have to go; ``cost_s`` and its ``terms`` are those of the plan."""

    model: str
    outcome: ProspectKind
    node: str | None = None
    devices: tuple[int, ...] = ()
    evicts: tuple[InstanceNote, ...] = ()
    cost_s: float | None = None
    terms: dict[str, float] = {}
    retry_in_s: float | None = None
    reason: str = ""


def what_if(query: ExplainQuery) -> dict[str, Any]:
    """Return what a question puts in the place of what the catalogue says."""
    asked = {name: getattr(query, name) for name in ExplainQuery.__struct_fields__ if name != "model"}
    return {name: value for name, value in asked.items() if value is not None}


def prospect_of(explanation: Explanation, model: ModelView | None, node: str | None) -> Prospect:
    """Return what would happen, by the list above; ``node`` None: anywhere. ``model`` None: a model that is not yet."""
    name = explanation.model
    if model is not None and node is None:
        served = _served(model)
        if served is not None:
            return served
    flights = [flight for flight in (model.flights if model is not None else ()) if node in (None, flight.node)]
    if flights:
        return Prospect(model=name, outcome="joins", node=flights[0].node, reason="it is being loaded there")
    notes = [note for note in explanation.nodes if node in (None, note.node)]
    planned = min((note for note in notes if note.rank is not None), key=lambda note: note.rank or 0, default=None)
    if planned is not None and planned.verdict == "has_it":
        return Prospect(model=name, outcome="joins", node=planned.node, reason=planned.why)
    if planned is not None:
        return _loads(name, planned)
    return _stands(name, model, notes)


def _served(model: ModelView) -> Prospect | None:
    ready = [replica for replica in model.replicas if replica.is_ready]
    if not ready:
        return None
    least = min(ready, key=lambda replica: replica.in_flight)
    is_full = all(replica.parallel is not None and replica.in_flight >= replica.parallel for replica in ready)
    reason = f"it is loaded there; all slots are busy, {model.waiting} wait" if is_full else "it is loaded there"
    return Prospect(model=model.id, outcome="served", node=least.node, reason=reason)


def _loads(model: str, note: NodeNote) -> Prospect:
    return Prospect(
        model=model,
        outcome="loads",
        node=note.node,
        devices=tuple(device.index for device in note.devices if device.need_mb is not None),
        evicts=tuple(instance for instance in note.instances if instance.goes),
        cost_s=note.cost_s,
        terms=note.terms,
        reason=note.why,
    )


def _stands(name: str, model: ModelView | None, notes: Sequence[NodeNote]) -> Prospect:
    """Return what would become of it where no node has a plan."""
    waited_for = [note for note in notes if _is_waited_for(note, model)]
    if waited_for:
        soonest = min(waited_for, key=_retry_in_s)
        return Prospect(
            model=name, outcome="waits", node=soonest.node, retry_in_s=soonest.retry_in_s, reason=soonest.why
        )
    reason = "; ".join(f"{note.node} {note.why}" for note in notes) or "there is no node"
    passing = [note for note in notes if note.verdict in ("waits", "cannot_now")]
    retry_in_s = min(map(_retry_in_s, passing), default=inf)
    return Prospect(
        model=name,
        outcome="refused" if passing else "never",
        retry_in_s=None if retry_in_s == inf else retry_in_s,
        reason=reason,
    )


def _is_waited_for(note: NodeNote, model: ModelView | None) -> bool:
    """Tell whether requests would wait for what is in the way: it passes by itself, or the node said to ask again."""
    if note.verdict != "waits" or note.code in PASSING_BY:
        return note.verdict == "waits"
    failures = model.failures if model is not None else ()
    return any(failure.node == note.node and failure.code in CAPACITY_CODES for failure in failures)


def _retry_in_s(note: NodeNote) -> float:
    return inf if note.retry_in_s is None else note.retry_in_s
