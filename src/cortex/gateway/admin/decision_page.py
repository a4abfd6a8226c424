"""Decisions as the admin API shows them: with the time that people know, narrowed down, a page at a time."""

from typing import get_args

import msgspec

from cortex.contract.admin import DecisionEntry, DecisionPage, DecisionQuery
from cortex.contract.error import MalformedRequest, ModelNotFound, NodeNotFound
from cortex.fleet.decision import KEPT, Decision, DecisionKind, DecisionLog
from cortex.fleet.resolve import describe_unknown, describe_unknown_node, name_table
from cortex.fleet.view import FleetView
from cortex.kit.clock import Clock
from cortex.kit.strict import did_you_mean

KINDS: tuple[DecisionKind, ...] = tuple(kind for kind in get_args(DecisionKind) if kind != "grant-queued")
"""Of what is kept: the other one is only counted."""


def known_query(query: DecisionQuery, view: FleetView, log: DecisionLog) -> DecisionQuery:
    """Return a query with the id for an alias: what it is narrowed down to must be there, or be told of in the log.

    Raises: MalformedRequest for a kind, NodeNotFound and ModelNotFound for names that nothing has.
    """
    if query.kind is not None and query.kind not in KINDS:
        got = f"got '{query.kind[:100]}'{did_you_mean(query.kind[:100], KINDS)}"
        raise MalformedRequest(f"kind: expected one of {', '.join(KINDS)}; {got}", param="kind", kinds=KINDS)
    nodes = [node.name for node in view.nodes]
    if query.node is not None and query.node not in nodes:
        raise NodeNotFound(describe_unknown_node(query.node, nodes), node=query.node)
    return query if query.model is None else msgspec.structs.replace(query, model=_id_of(query.model, view, log))


def _id_of(name: str, view: FleetView, log: DecisionLog) -> str:
    profiles = [model.profile for model in view.models if model.profile is not None]
    table = name_table(profiles, [model.id for model in view.models])
    if name not in table and all(decision.model != name for decision in log.latest(KEPT).decisions):
        raise ModelNotFound(describe_unknown(name, table), model=name)
    return table.get(name, name)


def decision_page(log: DecisionLog, query: DecisionQuery, clock: Clock) -> DecisionPage:
    """Return what was asked for, oldest first; without ``since`` the newest."""
    found = log.since(query.since) if query.since is not None else log.latest(KEPT)
    wanted = [decision for decision in found.decisions if _is_wanted(decision, query)]
    page = wanted[: query.limit] if query.since is not None else wanted[-query.limit :]
    is_cut = query.since is not None and len(page) < len(wanted)
    return DecisionPage(
        decisions=tuple(decision_entry(decision, clock) for decision in page),
        newest=found.newest,
        next=page[-1].number if is_cut else found.newest,
        gap=found.is_gap and query.since is not None,
    )


def decision_entry(decision: Decision, clock: Clock) -> DecisionEntry:
    """Return one decision with its time of day."""
    return DecisionEntry(
        number=decision.number,
        epoch_s=round(clock.epoch_s() - (clock.now_s() - decision.at_s), 3),
        kind=decision.kind,
        model=decision.model,
        node=decision.node,
        caller=decision.caller,
        reason=decision.reason,
        count=decision.count,
        details=decision.details,
    )


def _is_wanted(decision: Decision, query: DecisionQuery) -> bool:
    """Tell whether a decision is about what is asked for."""
    return (
        query.model in (None, decision.model)
        and query.node in (None, decision.node)
        and query.kind in (None, decision.kind)
    )
