"""Which versions of gateway and neuron work together: those of one minor version, or of two that are neighbours.

Decides what is to be said of two versions. Nobody is turned away for a version: who is too far apart is told so.
"""

import re

MOST_APART = 1
"""Minor versions: so far apart a gateway and a neuron are promised to understand each other, either way round."""
MAJOR = 1000
"""Between major versions nothing is promised: so far apart they are counted."""


def minors_apart(one: str, other: str) -> int | None:
    """Return how many minor versions lie between two, MAJOR between major ones; None when one is no version."""
    numbers = [re.match(r"(\d+)\.(\d+)", text) for text in (one, other)]
    if numbers[0] is None or numbers[1] is None:
        return None
    (major, minor), (other_major, other_minor) = (map(int, found.groups()) for found in numbers if found)
    return abs(minor - other_minor) if major == other_major else MAJOR


def skew_trouble(theirs: str, ours: str, who: str) -> str:
    """Say what is wrong between this and ``who`` of version ``theirs``; empty: nothing, or nobody knows."""
    apart = minors_apart(theirs, ours)
    if apart is None or apart <= MOST_APART:
        return ""
    return (
        f"{who} is of version {theirs}, this is {ours}: a gateway and its neurons may be one minor version apart, "
        "while they are upgraded, and no more"
    )
