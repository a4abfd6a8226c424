"""Writes into the log what is decided and nobody else tells there: evictions, what operators do, why a steward acts.

Evictions and restarts are warnings. How loads and the like go is told by whoever carries them out.
"""

import logging

from cortex.fleet.decision import Decision

TOLD_OF_OPERATORS = frozenset({"unload", "pin", "maintenance"})
TOLD_OF_STEWARDS = {"placement": logging.INFO, "unload": logging.INFO, "restart": logging.WARNING}
"""With the level."""

log = logging.getLogger(__name__)


def tell(decision: Decision) -> None:
    """Write a line for a decision, if it is to have one."""
    if decision.kind == "eviction":
        whose = f", asked for by {decision.caller}" if decision.caller else ""
        log.warning("%s was evicted from %s: %s%s", decision.model, decision.node, decision.reason, whose)
    elif decision.kind in TOLD_OF_OPERATORS and decision.caller == "operator":
        log.info("%s of %s: %s", decision.kind, _what(decision), decision.reason)
    elif decision.kind in TOLD_OF_STEWARDS and decision.caller == "steward":
        kind = "load" if decision.kind == "placement" else decision.kind
        log.log(TOLD_OF_STEWARDS[decision.kind], "steward: %s of %s: %s", kind, _what(decision), decision.reason)


def _what(decision: Decision) -> str:
    return f"{decision.model} on {decision.node}" if decision.model else decision.node
