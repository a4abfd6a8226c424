"""The models: all that the fleet knows; and of one where it is, where it could be, and why not. Changes nothing."""

import asyncio
from typing import NamedTuple

from cortex.contract.admin import ExplainQuery, InstanceEntry, ModelEntry, PlanQuery
from cortex.contract.error import MalformedRequest, ModelNotFound
from cortex.contract.profile import Profile
from cortex.fleet.prospect import Prospect, prospect_of
from cortex.fleet.resolve import describe_unknown
from cortex.fleet.view import FleetView, ModelView
from cortex.gateway.admin.dashboard.fleet_page import steady_instance
from cortex.gateway.admin.dashboard.load_state import LoadState, loads_of
from cortex.gateway.admin.dashboard.page import Desk, Filling, Query
from cortex.gateway.admin.entry import instance_entries
from cortex.gateway.admin.model_entry import model_entries
from cortex.gateway.ports import FleetAdmin

STATES = ("loaded", "loading", "draining", "unloading", "unloaded", "failed")
MAX_NAME_CHARS = 1024


class ModelRow(NamedTuple):
    """One model in the list; ``instances`` are those that hold memory."""

    entry: ModelEntry
    loads: tuple[LoadState, ...]
    instances: tuple[InstanceEntry, ...]


async def look_at_models(desk: Desk, query: Query) -> Filling:
    """Return what the list is filled with: ``q`` is a part of a name, ``status`` a state."""
    part, status = query.get("q", "").strip()[:MAX_NAME_CHARS], query.get("status", "")
    rows = await asyncio.to_thread(model_rows, desk.fleet.view())
    shown = [row for row in rows if _has(row.entry, part) and status in ("", row.entry.status)]
    return {"models": shown, "all": len(rows), "q": part, "status": status, "states": STATES}


def model_rows(view: FleetView) -> list[ModelRow]:
    """Return all models: those in use first, then by id."""
    held: dict[str, list[InstanceEntry]] = {}
    for one in instance_entries(view):
        if one.status not in ("unloaded", "failed"):
            held.setdefault(one.model, []).append(steady_instance(one))
    rows = [
        ModelRow(entry, loads_of(view, entry.id) if _may_load(entry, held) else (), tuple(held.get(entry.id, ())))
        for entry in model_entries(view)
    ]
    return sorted(rows, key=lambda row: (not row.instances and not row.entry.waiting, row.entry.id))


def _may_load(entry: ModelEntry, held: dict[str, list[InstanceEntry]]) -> bool:
    return bool(entry.loading) or any(one.status == "loading" for one in held.get(entry.id, ()))


def _has(entry: ModelEntry, part: str) -> bool:
    return any(part.casefold() in name.casefold() for name in (entry.id, *entry.aliases))


async def look_at_model(desk: Desk, query: Query) -> Filling:
    """Return what the page of one model is filled with. Raises: ModelNotFound, MalformedRequest."""
    view = desk.fleet.view()
    row = find_row(view, name_in(query, "model"))
    model = row.entry.id
    explanation = desk.fleet.explain(ExplainQuery(model=model))
    return {
        "model": row.entry,
        "loads": row.loads,
        "instances": [one for one in instance_entries(view) if one.model == model],
        "explanation": explanation,
        "prospect": prospect_of(explanation, _view_of(view, model), None),
        "queue": next((queue for queue in desk.fleet.queues().queues if queue.model == model), None),
        "capabilities": profile_of(view, model).capabilities,
        "title": model,
    }


def find_row(view: FleetView, name: str) -> ModelRow:
    """Return a model by id or alias. Raises: ModelNotFound."""
    rows = model_rows(view)
    table = {alias: row for row in reversed(rows) for alias in row.entry.aliases}
    table.update((row.entry.id, row) for row in rows)
    if name not in table:
        raise ModelNotFound(describe_unknown(name, {known: row.entry.id for known, row in table.items()}), model=name)
    return table[name]


def prospect(fleet: FleetAdmin, model: str, node: str | None) -> Prospect:
    """Return what a load would do. Raises: ModelNotFound."""
    explanation = fleet.explain(PlanQuery(model=model, node=node))
    return prospect_of(explanation, _view_of(fleet.view(), explanation.model), node)


def profile_of(view: FleetView, model: str) -> Profile:
    """Return what the catalogue says of a model; of one that it does not have nothing."""
    found = next((one.profile for one in view.models if one.id == model), None)
    return found if found is not None else Profile(id=model, harness="")


def name_in(query: Query, field: str) -> str:
    """Return a name that has to be given. Raises: MalformedRequest."""
    name = query.get(field, "")
    if not name or len(name) > MAX_NAME_CHARS:
        raise MalformedRequest(f"{field}: the name of a {field} was expected.", param=field)
    return name


def _view_of(view: FleetView, model: str) -> ModelView | None:
    return next((one for one in view.models if one.id == model), None)
