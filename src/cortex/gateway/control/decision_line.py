"""Writes into the log what is decided and nobody else tells there: evictions (warning) and what operators do (info).

Loads, failures and what stewards do are told by whoever carries them out.
"""

import logging

from cortex.fleet.decision import Decision

TOLD_OF_OPERATORS = frozenset({"unload", "pin", "maintenance"})

log = logging.getLogger(__name__)


def tell(decision: Decision) -> None:
    """Write a line for a decision, if it is to have one."""
    if decision.kind == "eviction":
        whose = f", asked for by {decision.caller}" if decision.caller else ""
        log.warning("evicting %s from %s: %s%s", decision.model, decision.node, decision.reason, whose)
    elif decision.kind in TOLD_OF_OPERATORS and decision.caller == "operator":
        what = f"{decision.model} on {decision.node}" if decision.model else decision.node
        log.info("%s of %s: %s", decision.kind, what, decision.reason)
