"""What one gateway holds on one node: of each model the generation, the slots, and since when its lease is trusted.

A neuron counts a lease from when it received a report, a gateway from when it sent one: the gateway's ends first. What
is told of a generation is kept whether or not it is used yet, so that an endpoint which was asked for before cannot
bring back slots that were called back since.
"""

from collections.abc import Iterable, Iterator
from math import inf

import msgspec

from cortex.contract.lease import MAX_LEASES, Lease, SlotChange, SlotGrant


class Use(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What this gateway does with one generation, as its report says it. ``cancelled`` counts all so far."""

    model_id: str
    generation: int
    in_flight: int
    waiting: int = 0
    oldest_wait_s: float = 0.0
    idle_s: float | None = None
    cancelled: int = 0


class Hold:
    """One generation. ``sent_s``: when the newest report that renewed its lease was sent, None while it has none.

    ``slots`` None: nobody knows of a limit.
    """

    __slots__ = ("generation", "sent_s", "slots", "told_s")

    def __init__(self, generation: int, slots: int | None) -> None:
        self.generation = generation
        self.slots = slots
        self.sent_s: float | None = None
        self.told_s = -inf


class Holds:
    """The leases of this gateway with one neuron: of every model the newest generation."""

    def __init__(self) -> None:
        self._by_model: dict[str, Hold] = {}

    def find(self, model_id: str, generation: int) -> Hold | None:
        """Return what is held of a generation."""
        hold = self._by_model.get(model_id)
        return hold if hold is not None and hold.generation == generation and hold.sent_s is not None else None

    def all(self) -> Iterator[tuple[str, int]]:
        """Go through model and generation of all that is held."""
        return ((model, hold.generation) for model, hold in self._by_model.items() if hold.sent_s is not None)

    def take(self, model_id: str, generation: int, slots: int | None, asked_s: float) -> bool:
        """Hold a generation; ``slots`` counts where nothing else was told of it. Return whether it was not held yet."""
        hold = self._at(model_id, generation, slots)
        if hold is None:
            return False
        is_new = hold.sent_s is None
        if is_new and hold.told_s <= asked_s:
            hold.slots = slots  # what was told before the question was of a lease that has ended since
        hold.sent_s = asked_s if hold.sent_s is None else max(asked_s, hold.sent_s)
        return is_new

    def renew(self, leases: Iterable[Lease], sent_s: float) -> None:
        """Trust what a report had in it, from when it was sent."""
        for lease in leases:
            hold = self.find(lease.model_id, lease.generation)
            if hold is not None and hold.sent_s is not None:
                hold.sent_s = max(hold.sent_s, sent_s)

    def tell(self, told: Iterable[SlotGrant | SlotChange], *, is_all: bool = False, now_s: float = inf) -> bool:
        """Take in slots; ``is_all``: what is not told has none. Return whether something held has fewer than before."""
        news = {(one.model_id, one.generation): one.slots for one in told}
        if is_all:
            untold = ((model, hold.generation) for model, hold in self._by_model.items())
            news = dict.fromkeys(untold, 0) | news
        is_less = False
        for (model, generation), slots in news.items():
            hold = self._at(model, generation, slots)
            if hold is not None:
                is_less |= hold.sent_s is not None and slots < (hold.slots or 0)
                hold.slots, hold.told_s = slots, now_s
        return is_less

    def forget(self, model_id: str, before: int | None = None) -> None:
        """Forget a model, or the generations of it before one."""
        hold = self._by_model.get(model_id)
        if hold is not None and (before is None or hold.generation < before):
            del self._by_model[model_id]

    def keep(self, model_id: str, generation: int) -> None:
        """Forget a model unless this is its generation."""
        hold = self._by_model.get(model_id)
        if hold is not None and hold.generation != generation:
            del self._by_model[model_id]

    def begin_anew(self) -> None:
        """Forget what is not held: another neuron process knows nothing of slots, but for what it is told is held."""
        self._by_model = {model: hold for model, hold in self._by_model.items() if hold.sent_s is not None}

    def clear(self) -> None:
        """Forget everything."""
        self._by_model.clear()

    def _at(self, model_id: str, generation: int, slots: int | None) -> Hold | None:
        """Return what is known of a generation, known from now on; None for one that is over."""
        hold = self._by_model.get(model_id)
        if hold is None or hold.generation < generation:
            hold = self._by_model[model_id] = Hold(generation, slots)
        return hold if hold.generation == generation else None


def most_used(uses: Iterable[Use]) -> list[Use]:
    """Return as many as one report may have, those in use first."""
    found = list(uses)
    if len(found) > MAX_LEASES:
        found.sort(key=lambda use: (-use.in_flight - use.waiting, use.idle_s or 0.0))
    return found[:MAX_LEASES]
