"""Decides when processes that are no engines of ours press on a device so hard that an idle model should make room.

Pressure is less free memory than the headroom, in every sample for ``PRESSURE_S``: what comes and goes is waited out.
One model goes at a time, the one that has been idle for longest; the next sample tells whether that was enough.
"""

from collections.abc import Collection, Iterable, Mapping

from cortex.residency.fit import Resident, held_on

PRESSURE_S = 10.0


class PressureWatch:
    """The devices of one node, by index."""

    def __init__(self, headroom_mb: int) -> None:
        self._headroom_mb = headroom_mb
        self._since_s: dict[int, float] = {}

    def note(self, free_mb: Mapping[int, int | None], now_s: float) -> frozenset[int]:
        """Take in what is free, and return the devices under pressure; one that does not tell is under none."""
        short = [index for index, free in free_mb.items() if free is not None and free < self._headroom_mb]
        self._since_s = {index: self._since_s.get(index, now_s) for index in short}
        return frozenset(index for index, since_s in self._since_s.items() if now_s - since_s >= PRESSURE_S)


def choose_relief(
    devices: Collection[int], residents: Iterable[Resident], idle_s: Mapping[str, float], leaving: Collection[str] = ()
) -> str | None:
    """Return who should make room on any of these devices: of those in ``idle_s`` the one idle for longest.

    While somebody is ``leaving`` from there, nobody else has to.
    """
    there = [resident.key for resident in residents if any(held_on(resident.shares, device) for device in devices)]
    if any(key in leaving for key in there):
        return None
    return max((key for key in there if key in idle_s), key=lambda key: idle_s[key], default=None)
