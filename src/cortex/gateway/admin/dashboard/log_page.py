"""The logs of engines: one is chosen, its last lines are shown, and what it writes goes on. Changes nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from cortex.contract.admin import InstanceEntry
from cortex.contract.engine_log import LogQuery
from cortex.contract.error import CortexError
from cortex.gateway.admin.dashboard.model_page import name_in
from cortex.gateway.admin.dashboard.page import Call, Desk, Filling, Query, Reply
from cortex.gateway.admin.entry import instance_entries
from cortex.gateway.admin.event_answer import event_response

LINES = 400
"""Shown at first."""
ORDER = ("loading", "loaded", "draining", "unloading", "failed", "unloaded")


class Choice(NamedTuple):
    """An engine whose log can be looked at."""

    model: str
    node: str
    status: str
    is_chosen: bool


async def look_at_logs(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with: ``at`` is ``<node> <model>``, as the form has it, or they come apart."""
    node, _, model = query.get("at", "").partition(" ")
    model, node = query.get("model", "") or model, query.get("node", "") or node
    choices = choices_of(instance_entries(desk.fleet.view()), model, node)
    lines: tuple[str, ...] = ()
    trouble = ""
    if model and node:
        try:
            lines = (await desk.insight.log_tail(model[:1024], node[:1024], LogQuery(lines=LINES))).lines
        except CortexError as error:
            trouble = error.message
    return {"choices": choices, "model": model, "node": node, "lines": lines, "trouble": trouble, "count": LINES}


def choices_of(instances: list[InstanceEntry], model: str, node: str) -> list[Choice]:
    """Return the engines there are, those at work first; the one that is looked at among them, whatever it is."""
    found = [Choice(one.model, one.node, one.status, (one.model, one.node) == (model, node)) for one in instances]
    if model and node and not any(choice.is_chosen for choice in found):
        found.append(Choice(model, node, "unknown", is_chosen=True))
    rank = {status: place for place, status in enumerate(ORDER)}
    return sorted(found, key=lambda one: (rank.get(one.status, len(ORDER)), one.model, one.node))


async def follow_log(desk: Desk, call: Call) -> Reply:
    """Answer with what comes, as events, for as long as it may be seen. Raises: CortexError."""
    model, node = name_in(call.query, "model"), name_in(call.query, "node")
    events = desk.insight.log_events(model, node, LogQuery(lines=LINES, follow=True))
    return Reply(response=event_response(_while_it_may(events, call.may_stay)))


async def _while_it_may(events: AsyncIterator[bytes], may_stay: Callable[[], bool]) -> AsyncIterator[bytes]:
    stream: Any = events
    async with aclosing(stream):
        async for event in stream:
            if not may_stay():
                return
            yield event
