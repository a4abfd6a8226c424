"""Which seeds the simulations play: the first is 0, or what ``FIRST_SEED`` says.

How many of them is for each simulation to say; a seed of one is much dearer than one of another.
"""

import os

FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))


def seeds(count: int) -> range:
    """Return so many seeds, from the first one on."""
    return range(FIRST_SEED, FIRST_SEED + count)
