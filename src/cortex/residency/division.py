"""Divides what one process holds of each device among the models that share it.

Nobody measures a model in a shared process, only the process. The parts always make up the whole, so that the sum over
the residents of max(declared, measured) is never less than what is held; which model has which part is an estimate:

1. what was measured of each before stays its part;
2. growth goes to those who have less than they declared, in the order in which they came; the rest to those who were
   never measured, evenly, else to the newest;
3. one who was never measured, and of whom nobody declared anything, may have come before the last measurement: where
   nothing grew, those without a declaration share alike what is beyond all declarations;
4. when there is less than before, every part shrinks alike.
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
    unmeasured = [n for n, share in enumerate(shares) if share.measured_mb is None]
    if not growth and any(not shares[n].declared_mb for n in unmeasured):
        excess = [max(0, part - share.declared_mb) for part, share in zip(parts, shares, strict=True)]
        parts = [part - more for part, more in zip(parts, excess, strict=True)]
        return _spread_mb(sum(excess), parts, [n for n, share in enumerate(shares) if not share.declared_mb])
    return _spread_mb(growth, parts, unmeasured or list(range(len(parts)))[-1:])


def _spread_mb(amount_mb: int, parts: Sequence[int], among: Sequence[int]) -> list[int]:
    """Return the parts with an amount added to some of them, evenly and to the last MiB."""
    spread = list(parts)
    for place, n in enumerate(among):
        spread[n] += amount_mb * (place + 1) // len(among) - amount_mb * place // len(among)
    return spread


def _shrunk_mb(held_mb: int, parts: Sequence[int]) -> list[int]:
    """Return parts in the same proportions that make up ``held_mb`` exactly."""
    whole, run, shrunk = sum(parts), 0, []
    for part in parts:
        shrunk.append((run + part) * held_mb // whole - run * held_mb // whole)
        run += part
    return shrunk
