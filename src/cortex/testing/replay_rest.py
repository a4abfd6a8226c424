"""When a replayed fleet is at rest, and how much of that is not played.

A fleet that only waits for the next request says the same to itself again and again. That time is skipped, not taken
out of the trace: every clock goes on by it, so that whoever has been idle has been so for as long as was recorded, and
what falls due meanwhile falls due right after. What is left of it is long enough for that, and for all to hear of it.
"""

from collections.abc import Iterable
from random import Random

from cortex.contract.profile import Profile
from cortex.testing.fleet_wire import NodePlace

REST_S = 120.0
"""Played after the last request has ended, and again before the next one comes: twelve polls each."""
KEPT_REST_S = 600.0
"""The same where a steward may bring models back meanwhile, which it does when others have been idle for 300 s."""
STEP_S = 60.0
"""What recurs (polls, samples, ticks) does so a whole number of times in it, so that it is met in the same phase."""
STILL = frozenset({"loaded", "unloaded", "failed"})


class SteadyDice(Random):
    """Dice that always fall in the middle: what is left to chance takes its mean time, and nothing befalls anybody.

    Two replays differ by what is changed between them alone, and not by their luck.
    """

    def random(self) -> float:
        """Return the middle."""
        return 0.5


def is_kept(profile: Profile) -> bool:
    """Tell whether a steward loads a model that nobody asks for."""
    return profile.preload or profile.min_replicas > 0


def rest_s(profiles: Iterable[Profile]) -> float:
    """Return how long all must have been at rest before time is skipped, and are again after that."""
    return KEPT_REST_S if any(map(is_kept, profiles)) else REST_S


def to_skip_s(left_s: float, rest_s: float) -> float:
    """Return how much of the rest before the next request, which comes in ``left_s``, need not be played."""
    return max(0.0, (left_s - rest_s) // STEP_S * STEP_S)


def is_still(nodes: Iterable[NodePlace]) -> bool:
    """Tell whether no node loads anything, or unloads it."""
    return all(
        instance.status in STILL
        for node in nodes
        if node.process is not None
        for instance in node.process.instances.values()
    )
