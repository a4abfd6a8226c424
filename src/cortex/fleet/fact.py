"""What a gateway knows beyond what nodes report, as the planner asks for it.

``Facts`` is a Protocol, so that the dispatcher's own books can answer without being copied; ``KnownFacts`` holds the
answers themselves, for whoever has no dispatcher.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from cortex.contract.profile import Profile
from cortex.fleet.memory import LoadUnderWay


class Use(NamedTuple):
    """What this gateway does with one model on one node; ``waiting``: for the model, wherever it is."""

    in_flight: int = 0
    waiting: int = 0
    last_used_s: float | None = None


NO_USE = Use()


class Facts(Protocol):
    """What is known besides, for planning one model."""

    @property
    def loads(self) -> Mapping[str, Sequence[LoadUnderWay]]:
        """By node: the loads that this gateway has asked for and that are not over."""
        ...

    @property
    def holds(self) -> Mapping[str, float]:
        """By node: for how long the planned model is not to be tried there."""
        ...

    @property
    def drained(self) -> Collection[str]:
        """The nodes on which nothing new is to be loaded, beyond those that say so themselves."""
        ...

    def use_of(self, node: str, model: str) -> Use:
        """Return what this gateway does with a model there."""
        ...

    def profile_of(self, model: str) -> Profile | None:
        """Return what the catalogue says of a model, None when it does not know it."""
        ...

    def need_mb(self, model: str) -> int | None:
        """Return what a model was seen to need, where its profile does not say."""
        ...


class KnownFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The same as plain data; ``uses`` by (node, model), the others by model."""

    loads: Mapping[str, Sequence[LoadUnderWay]] = {}
    holds: Mapping[str, float] = {}
    drained: Collection[str] = ()
    uses: Mapping[tuple[str, str], Use] = {}
    profiles: Mapping[str, Profile] = {}
    needs_mb: Mapping[str, int] = {}

    def use_of(self, node: str, model: str) -> Use:
        """Return what this gateway does with a model there."""
        return self.uses.get((node, model), NO_USE)

    def profile_of(self, model: str) -> Profile | None:
        """Return what the catalogue says of a model."""
        return self.profiles.get(model)

    def need_mb(self, model: str) -> int | None:
        """Return what a model was seen to need."""
        return self.needs_mb.get(model)
