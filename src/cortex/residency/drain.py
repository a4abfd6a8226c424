"""Decides how a drain goes: one instance, or several that go together or not at all.

Three kinds. An ``eviction`` is a proposal: it is given up at the first request that is seen, and when its time is over.
One that is ``due`` has waited so long for its turn that it goes on as long as requests run. Both cut nothing.
``maintenance`` goes on until its time is over, and is then given up, or cuts when it is forced to.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

DrainKind = Literal["eviction", "due", "maintenance"]
DrainVerdict = Literal["wait", "drained", "cut", "given_up"]

QUIET_LOOKS = 2
"""Looks in a row that must find nothing in flight: a request may be on its way when the drain begins."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it was just seen."""

    in_flight: int | None
    """None: its engine does not answer."""
    is_acknowledged: bool = True
    """Nobody sends to it any more."""

    @property
    def is_quiet(self) -> bool:
        """Tell whether it could go."""
        return self.in_flight == 0 and self.is_acknowledged


class Drain:
    """One drain, whose time is over at ``until_s``."""

    def __init__(self, kind: DrainKind, until_s: float, *, is_forced: bool = False) -> None:
        self.kind = kind
        self._until_s = until_s
        self._is_forced = is_forced
        self._quiet = 0

    def force(self, until_s: float) -> None:
        """Have a maintenance drain cut what still runs at ``until_s``, or earlier if it was to end earlier."""
        self._until_s, self._is_forced = min(self._until_s, until_s), True

    def judge(self, looks: Iterable[Look], now_s: float) -> DrainVerdict:
        """Tell what follows from how all its instances are now."""
        seen = tuple(looks)
        self._quiet = self._quiet + 1 if all(look.is_quiet for look in seen) else 0
        if self._quiet >= QUIET_LOOKS:
            return "drained"
        if self.kind == "eviction" and any(look.in_flight for look in seen):
            return "given_up"
        if self._quiet or now_s < self._until_s or (self.kind == "due" and any(look.in_flight for look in seen)):
            return "wait"
        return "cut" if self._is_forced else "given_up"
