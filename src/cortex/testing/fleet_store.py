"""A toy of the store that several gateways share: claims with an end, by a clock of its own, and outages.

A claim has one holder at a time; whoever comes meanwhile is told who holds it and what for. Every new holder of a claim
gets a larger number than the one before.
"""

from typing import NamedTuple

from cortex.testing.timeline import Timeline

CLAIM_TTL_S = 6.0


class Claim(NamedTuple):
    """A claim as it is now: its holder, what it is for, its fencing number."""

    holder: str
    target: str
    until_s: float
    number: int


class ToyStore:
    """Claims by name."""

    def __init__(self, time: Timeline) -> None:
        self._time = time
        self._claims: dict[str, Claim] = {}
        self._numbers = 0
        self.is_down = False
        self.last_outage_s = float("-inf")

    def claim(self, name: str, holder: str, target: str) -> Claim:
        """Take a claim, renew it, or be told who has it."""
        held = self._claims.get(name)
        now_s = self._time.at_s
        if held is not None and held.until_s > now_s and held.holder != holder:
            return held
        if held is None or held.holder != holder or held.until_s <= now_s:
            self._numbers += 1
            self._claims[name] = Claim(holder, target, now_s + CLAIM_TTL_S, self._numbers)
        else:
            self._claims[name] = held._replace(until_s=now_s + CLAIM_TTL_S)
        return self._claims[name]

    def release(self, name: str, holder: str) -> None:
        held = self._claims.get(name)
        if held is not None and held.holder == holder:
            del self._claims[name]

    def held(self) -> dict[str, Claim]:
        """Return the claims that are in force."""
        return {name: claim for name, claim in self._claims.items() if claim.until_s > self._time.at_s}

    def fail(self) -> None:
        self.is_down = True

    def come_back(self) -> None:
        if self.is_down:
            self.is_down = False
            self.last_outage_s = self._time.at_s
