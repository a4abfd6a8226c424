"""The decisions, the newest first, narrowed down by what the URL asks. Changes nothing."""

from collections.abc import Mapping

from cortex.contract.admin import DecisionEntry, DecisionQuery
from cortex.contract.error import CallerError
from cortex.gateway.admin.dashboard.page import Desk, Filling, Query
from cortex.gateway.admin.dashboard.word import memory, span
from cortex.gateway.admin.decision_page import KINDS, decision_page, known_query

LIMITS = (100, 300, 1000)
HIDDEN = frozenset(("number",))
"""Details that say nothing to people."""

Details = tuple[tuple[str, str], ...]


async def look_at_decisions(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with: ``kind``, ``model``, ``node`` narrow it down, ``limit`` is how many."""
    view = desk.fleet.view()
    asked = {name: query.get(name, "").strip()[:1024] for name in ("kind", "model", "node")}
    limit = next((limit for limit in LIMITS if str(limit) == query.get("limit")), LIMITS[0])
    wanted = DecisionQuery(
        limit=limit, kind=asked["kind"] or None, model=asked["model"] or None, node=asked["node"] or None
    )
    trouble = ""
    decisions: tuple[tuple[DecisionEntry, Details], ...] = ()
    try:
        page = decision_page(desk.fleet.log, known_query(wanted, view, desk.fleet.log), desk.clock)
        decisions = tuple((entry, shown_details(entry.details)) for entry in reversed(page.decisions))
    except CallerError as error:
        trouble = error.message
    return {
        "decisions": decisions,
        "trouble": trouble,
        "kinds": KINDS,
        "nodes": [node.name for node in view.nodes],
        "models": [model.id for model in view.models],
        "limits": LIMITS,
        "limit": limit,
        **asked,
    }


def shown_details(details: Mapping[str, object]) -> Details:
    """Return the details that say something, in words."""
    shown = (_told(name, value) for name, value in details.items() if name not in HIDDEN)
    return tuple((name, text) for name, text in shown if text)


def _told(name: str, value: object) -> tuple[str, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("_s"):
            return name[:-2].replace("_", " "), span(value)
        if name.endswith("_mb"):
            return name[:-3].replace("_", " "), memory(value)
    return name.replace("_", " "), _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return str(value)
