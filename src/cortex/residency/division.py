"""Divides what one process holds of each device among the models that share it.

Nobody measures a model in a shared process, only the process. The parts always make up the whole, so that the sum over
the residents of max(declared, measured) is never less than what is held; which model has which part is an estimate:

1. what was measured of each before stays its part;
2. growth goes to those who have less than they declared, in the order in which they came, the rest to the newest;
3. when there is less than before, every part shrinks alike.
"""

from collections.abc import Mapping, Sequence

from cortex.residency.fit import Resident, Share


def divided_mb(held_mb: Mapping[int, int], residents: Sequence[Resident]) -> list[dict[int, int]]:
    """Return each resident's part by device, in their order; a device that none of them has a share of is left out."""
    parts: list[dict[int, int]] = [{} for _ in residents]
    for device, held in held_mb.items():
        sharing = [(n, share) for n, resident in enumerate(residents) for share in resident.shares]
        here = [(n, share) for n, share in sharing if share.device == device]
        for (n, _), part_mb in zip(here, _parts_mb(held, [share for _, share in here]), strict=True):
            parts[n][device] = part_mb
    return parts


def _parts_mb(held_mb: int, shares: Sequence[Share]) -> list[int]:
    parts = [share.measured_mb or 0 for share in shares]
    before = sum(parts)
    if held_mb < before:
        return _shrunk_mb(held_mb, parts)
    growth = held_mb - before
    for n, share in enumerate(shares):
        lacking = min(growth, max(0, share.declared_mb - parts[n]))
        parts[n] += lacking
        growth -= lacking
    if parts:
        parts[-1] += growth
    return parts


def _shrunk_mb(held_mb: int, parts: Sequence[int]) -> list[int]:
    """Return parts in the same proportions that make up ``held_mb`` exactly."""
    whole, run, shrunk = sum(parts), 0, []
    for part in parts:
        shrunk.append((run + part) * held_mb // whole - run * held_mb // whole)
        run += part
    return shrunk
