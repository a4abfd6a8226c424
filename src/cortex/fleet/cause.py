"""Remembers of the decisions those that explain a request: why its model was loaded, or why it could not be.

Bounded: of each model on each node the last load, of each model the last word; whatever has been quiet longest goes.
"""

from collections import OrderedDict
from typing import TypeVar

import msgspec

from cortex.contract.activity import Cause
from cortex.fleet.decision import Decision

K = TypeVar("K")

MAX_REMEMBERED = 512

_WORDS = frozenset(("placement", "failure", "deferral"))


class Causes:
    """Watches a ``DecisionLog`` (``log.watch(causes.note)``)."""

    def __init__(self) -> None:
        self._loads: OrderedDict[tuple[str, str], Cause] = OrderedDict()
        self._last: OrderedDict[str, Cause] = OrderedDict()

    def note(self, decision: Decision) -> None:
        """Take a decision."""
        kind, model, node = decision.kind, decision.model, decision.node
        if kind in ("load", "grant-cold"):
            self._finish(model, node, decision.details.get("took_s"))
        elif kind in _WORDS and model and decision.number:
            cause = _cause_of(decision)
            _keep(self._last, model, cause)
            if kind == "placement":
                _keep(self._loads, (model, node), cause)

    def of_load(self, model: str, node: str) -> Cause | None:
        """Return why a model was last loaded on a node."""
        return self._loads.get((model, node))

    def last(self, model: str) -> Cause | None:
        """Return what was last decided for who waits for a model."""
        return self._last.get(model)

    def _finish(self, model: str, node: str, took_s: object) -> None:
        """A load is done: from now on it is told how long it took, and no more what was in its way."""
        last = self._last.get(model)
        if last is not None and last.kind != "placement":
            del self._last[model]
        cause = self._loads.get((model, node))
        if cause is None or not isinstance(took_s, int | float):
            return
        done = msgspec.structs.replace(cause, load_s=round(float(took_s), 3))
        self._loads[model, node] = done
        if last is cause:
            self._last[model] = done


def _cause_of(decision: Decision) -> Cause:
    evicts = decision.details.get("evicts")
    return Cause(
        number=decision.number,
        kind=decision.kind,
        reason=decision.reason,
        node=decision.node,
        caller=decision.caller,
        evicts=tuple(map(str, evicts)) if isinstance(evicts, list | tuple) else (),
    )


def _keep(kept: OrderedDict[K, Cause], key: K, cause: Cause) -> None:
    kept[key] = cause
    kept.move_to_end(key)
    if len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)
