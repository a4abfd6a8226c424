"""The dispatcher's books as the planner reads them, for one model: nothing is copied that can be looked up."""

from collections.abc import Collection, Mapping

from cortex.contract.profile import Profile
from cortex.fleet.fact import NO_USE, Use
from cortex.fleet.load_book import LoadBook
from cortex.fleet.model import Model


class Knowledge:
    """Implements ``fact.Facts`` at one moment, for planning ``model``."""

    def __init__(self, model: str, models: Mapping[str, Model], book: LoadBook, now_s: float) -> None:
        self._models = models
        self.loads = book.loads
        self.holds: Mapping[str, float] = book.holds_of(model, now_s)
        self.drained: Collection[str] = ()

    def use_of(self, node: str, model: str) -> Use:
        """Return what this gateway does with a model there."""
        known = self._models.get(model)
        replica = known.replicas.get(node) if known is not None else None
        if known is None or replica is None:
            return NO_USE
        gone = sum(old.in_flight for old in known.retired if old.node == node)
        return Use(replica.in_flight + gone, len(known.waiting), replica.used_s)

    def profile_of(self, model: str) -> Profile | None:
        """Return what the catalogue says of a model, None when it does not know it."""
        known = self._models.get(model)
        return known.profile if known is not None else None

    def need_mb(self, model: str) -> int | None:
        """Return what a model was seen to need."""
        known = self._models.get(model)
        return known.learnt_mb or None if known is not None else None
