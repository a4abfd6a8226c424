"""What was decided and why: a bounded, numbered log of placements, loads, evictions, refusals and the like.

Written by whoever decides (``log.note(...)`` costs about a microsecond and nothing is formatted), read by the admin API
and by metrics, for which every note counts. Of alike refusals and cold grants in a storm one a second is kept, with
the number of those that it stands for: a thousand refusals must not push out the load that explains them.

What ``details`` hold, where they are known: ``took_s`` of a load, ``code`` of a failure or a refusal, ``waited_s`` of a
grant, ``why`` and ``by`` (the model that needed room) of an eviction, ``why`` of an unload, ``evicts`` (who was asked
to go) of a placement and of what became of it where they stayed, ``leaves`` (the node that it is to leave) of a move.
Values that JSON has, and few of them.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice
from typing import Literal

import msgspec

DecisionKind = Literal[
    "placement",
    "load",
    "failure",
    "eviction",
    "unload",
    "grant-cold",
    "grant-queued",
    "refusal",
    "deferral",
    "move",
    "restart",
    "pin",
    "maintenance",
    "steward",
]
"""placement: a load was asked for; load: it is loaded; failure: it could not be. eviction: it has gone for another;
unload: for any other reason. grant-cold: a request was served after a load; grant-queued: after others. deferral:
somebody else loads it, or it is to be tried again. move: it is loaded there to leave another node. maintenance: a node
was drained or taken back."""

KEPT = 2000
STORMY: frozenset[DecisionKind] = frozenset({"refusal", "grant-cold", "deferral"})
"""What comes once per request."""
QUIET_S = 1.0
MAX_REMEMBERED = 512


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decision. ``number`` 0: one of many alike, counted and not kept.

    ``at_s`` is monotonic; whoever shows it to people adds the epoch. ``caller``: who caused it, empty for nobody.
    ``count``: how many alike it stands for, itself included.
    """

    number: int
    at_s: float
    kind: DecisionKind
    reason: str
    model: str = ""
    node: str = ""
    caller: str = ""
    count: int = 1
    details: dict[str, object] = {}


class Decisions(msgspec.Struct, frozen=True):
    """A part of the log. ``is_gap``: of those asked for some are not kept any more, or were never of this log."""

    decisions: tuple[Decision, ...]
    newest: int
    is_gap: bool


class DecisionLog:
    """The last decisions, numbered from 1 on; a number is never given twice and never goes back."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept: deque[Decision] = deque(maxlen=kept)
        self._newest = 0
        self._watchers: list[Callable[[Decision], None]] = []
        self._quiet: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    @property
    def newest(self) -> int:
        """The number of the last decision that was kept, 0 before the first."""
        return self._newest

    def watch(self, watcher: Callable[[Decision], None]) -> None:
        """Tell ``watcher`` of every decision from now on, also of those that are only counted; it must not fail."""
        self._watchers.append(watcher)

    def note(
        self,
        kind: DecisionKind,
        reason: str,
        *,
        now_s: float,
        model: str = "",
        node: str = "",
        caller: str = "",
        **details: object,
    ) -> None:
        """Put a decision on record."""
        count = self._stands_for(kind, model, node, details.get("code"), now_s) if kind in STORMY else 1
        if count:
            self._newest += 1
        decision = Decision(
            number=self._newest if count else 0,
            at_s=now_s,
            kind=kind,
            reason=reason,
            model=model,
            node=node,
            caller=caller,
            count=count or 1,
            details=details,
        )
        if count:
            self._kept.append(decision)
        for watcher in self._watchers:
            watcher(decision)

    def count(
        self, kind: DecisionKind, *, now_s: float, model: str = "", node: str = "", caller: str = "", **details: object
    ) -> None:
        """Let a decision be counted, and keep nothing of it: what comes too often to be read."""
        if self._watchers:
            decision = Decision(
                number=0, at_s=now_s, kind=kind, reason="", model=model, node=node, caller=caller, details=details
            )
            for watcher in self._watchers:
                watcher(decision)

    def since(self, number: int, limit: int = KEPT) -> Decisions:
        """Return the decisions after ``number``, oldest first, ``limit`` at the most."""
        kept, newest = self._kept, self._newest
        is_foreign = not 0 <= number <= newest
        after = 0 if is_foreign else number
        oldest = newest - len(kept) + 1
        start = max(0, after + 1 - oldest)
        found = tuple(islice(kept, start, start + max(0, limit)))
        return Decisions(found, newest, is_foreign or after + 1 < oldest)

    def latest(self, limit: int) -> Decisions:
        """Return the last decisions, oldest first, ``limit`` at the most."""
        return self.since(max(0, self._newest - max(0, limit)), limit)

    def _stands_for(self, kind: DecisionKind, model: str, node: str, code: object, now_s: float) -> int:
        """Return for how many alike this one is kept, 0 when it is only to be counted."""
        key, quiet = (kind, model, node, code), self._quiet
        since_s, unheard = quiet.get(key, (float("-inf"), 0))
        if now_s - since_s < QUIET_S:
            quiet[key] = (since_s, unheard + 1)
            return 0
        quiet[key] = (now_s, 0)
        quiet.move_to_end(key)
        if len(quiet) > MAX_REMEMBERED:
            quiet.popitem(last=False)
        return unheard + 1
