"""Decisions as the admin API shows them: with the time that people know, narrowed down, a page at a time."""

from cortex.contract.admin import DecisionEntry, DecisionPage, DecisionQuery
from cortex.fleet.decision import KEPT, Decision, DecisionLog
from cortex.kit.clock import Clock


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
