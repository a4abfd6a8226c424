"""Divides the slots of one instance among the gateways that want some: as evenly as what they want allows.

Where an odd one is left, the request that has waited longest comes first, so that taking turns is what follows when
shares are computed anew with every report.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Demand(NamedTuple):
    """What one gateway would use: requests under way and waiting, and for how long the oldest has waited."""

    gateway_id: str
    wanted: int
    oldest_wait_s: float = 0.0


def fair_shares(demands: Sequence[Demand], slots: int) -> dict[str, int]:
    """Return how many of ``slots`` each gateway gets; nobody more than it wants, and none is left that is wanted."""
    shares = {demand.gateway_id: demand.wanted for demand in demands}
    left, modest_first = slots, sorted(demands, key=lambda demand: demand.wanted)
    for number, demand in enumerate(modest_first):
        greedy = modest_first[number:]
        level, odd = divmod(left, len(greedy))
        if demand.wanted > level:
            by_age = sorted(greedy, key=lambda one: (-one.oldest_wait_s, one.gateway_id))
            return shares | {one.gateway_id: level + (place < odd) for place, one in enumerate(by_age)}
        left -= demand.wanted
    return shares
