"""What a drain must know of the gateways that hold an instance: what they have in flight, and whether they have heard.

The book of leases answers it; a neuron that takes no leases has no holders, and goes by its engines' own counts alone.
"""

from typing import Protocol

from cortex.residency.leased_generation import NO_USAGE, Usage


class Holders(Protocol):
    """The gateways that hold instances of this node, on the neuron's clock."""

    def in_flight(self, model_id: str, generation: int, now_s: float) -> int:
        """Return the requests of a generation that gateways have under way; slots that are idle are none."""
        ...

    def has_all_acknowledged(self, model_id: str, generation: int, now_s: float) -> bool:
        """Tell whether every holder of a generation has seen that it drains, or its lease has expired.

        After a start nobody knows who holds what: False until the leases of the last life must have expired.
        """
        ...

    def usage(self, model_id: str) -> Usage:
        """Return what gateways do with a model, by their last reports."""
        ...


class NoHolders:
    """Nobody holds anything."""

    def in_flight(self, model_id: str, generation: int, now_s: float) -> int:
        """Return that nothing is in flight."""
        return 0

    def has_all_acknowledged(self, model_id: str, generation: int, now_s: float) -> bool:
        """Tell that there is nobody to wait for."""
        return True

    def usage(self, model_id: str) -> Usage:
        """Return that nobody uses it."""
        return NO_USAGE
