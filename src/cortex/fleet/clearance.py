"""Which of those who could go are the least loss together, and on which devices that leaves room.

Every victim weighs something, so the lightest set has none that could be left out. As few devices as that set allows,
and of them the emptiest. Who could go at all, and what each weighs, is decided in ``eviction``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cortex.contract.node import Device
from cortex.fleet.device_choice import Pool
from cortex.fleet.eviction import Tenant
from cortex.residency.fit import even_share_mb

EXACT_MOST = 10
"""Of so many candidates every set is weighed; of more the cheapest are taken until there is room."""


class Weight(NamedTuple):
    """What a set of victims weighs: their ranks, the highest first, and then what they cost together."""

    ranks: tuple[int, ...] = ()
    price_s: float = 0.0

    def plus(self, tenant: Tenant) -> "Weight":
        """Return the weight with one more, which is always more."""
        ranks = tuple(sorted(self.ranks + tenant.ranks, reverse=True)) if tenant.ranks else self.ranks
        return Weight(ranks, self.price_s + tenant.price_s)


class Clearance(NamedTuple):
    """Devices that have room once the victims are gone."""

    weight: Weight
    devices: tuple[Device, ...]
    victims: tuple[Tenant, ...]


def choose_victims(
    pools: Iterable[Pool], least: int, need_mb: int, candidates: Iterable[Tenant], floor_mb: int = 0
) -> Clearance | None:
    """Return who of the candidates should go so that ``need_mb`` fits, and on which devices; None: not even all do.

    The set that weighs least over all pools and numbers of devices, on as few devices as it allows, the emptiest then.
    """
    ordered = sorted(candidates, key=lambda tenant: tenant.order)
    if not ordered:
        return None
    best: Clearance | None = None
    tall = [fit for whole in pools if (fit := whole.of_floor(floor_mb)) is not None]
    ways = [(fit, count, even_share_mb(need_mb, count)) for fit in tall for count in fit.counts(least)]
    for pool, count, share_mb in ways:
        if best is not None and Weight().plus(ordered[0]) >= best.weight:
            break  # no set weighs less than the lightest one
        able = pool.able(share_mb)
        if len(able) < count:
            continue
        search = _Search(able, pool.memory.left_mb, ordered, share_mb, count)
        found = search.best(best.weight if best is not None else None)
        if found is not None:
            best = search.clearance(*found)
    return best


class _Search:
    """The lightest set that leaves room for a share on so many of these devices."""

    def __init__(
        self, able: Sequence[Device], left_mb: Mapping[int, int], ordered: Iterable[Tenant], share_mb: int, count: int
    ) -> None:
        self._able = able
        self._left_mb = [left_mb[device.index] for device in able]
        self._share_mb, self._count = share_mb, count
        gains = [(tenant, [tenant.held_mb.get(device.index, 0) for device in able]) for tenant in ordered]
        useful = [(tenant, gain) for tenant, gain in gains if any(gain)]
        self._tenants = [tenant for tenant, _ in useful]
        self._gains = [gain for _, gain in useful]
        self._rest = self._rests()
        self._best: tuple[Weight, tuple[int, ...]] | None = None
        self._limit: Weight | None = None

    def best(self, limit: Weight | None) -> tuple[Weight, tuple[int, ...]] | None:
        """Return the lightest set and its weight, None when there is none, or none lighter than ``limit``."""
        self._limit = limit
        if len(self._tenants) <= EXACT_MOST:
            self._go(0, self._left_mb, (), Weight())
        else:
            self._take()
        return self._best

    def clearance(self, weight: Weight, chosen: tuple[int, ...]) -> Clearance:
        """Return what a set makes room for: the emptiest devices once it has gone."""
        left_mb = self._without(chosen)
        emptiest = sorted(range(len(self._able)), key=lambda at: (-left_mb[at], self._able[at].index))[: self._count]
        victims = tuple([self._tenants[index] for index in chosen])
        return Clearance(weight, tuple([self._able[at] for at in emptiest]), victims)

    def _go(self, start: int, left_mb: list[int], chosen: tuple[int, ...], weight: Weight) -> None:
        if self._has_room(left_mb):
            self._best, self._limit = (weight, chosen), weight
            return
        if not self._has_room([left + rest for left, rest in zip(left_mb, self._rest[start], strict=True)]):
            return
        for index in range(start, len(self._tenants)):
            heavier = weight.plus(self._tenants[index])
            if self._limit is not None and heavier >= self._limit:
                return  # and so is every later one
            more = [left + gain for left, gain in zip(left_mb, self._gains[index], strict=True)]
            self._go(index + 1, more, (*chosen, index), heavier)

    def _take(self) -> None:
        """Take the cheapest until there is room, then let stay who need not go, the dearest first."""
        chosen: list[int] = []
        for index in range(len(self._tenants)):
            if self._has_room(self._without(chosen)):
                break
            chosen.append(index)
        if not self._has_room(self._without(chosen)):
            return
        for index in reversed(tuple(chosen)):
            rest = [other for other in chosen if other != index]
            if self._has_room(self._without(rest)):
                chosen = rest
        weight = Weight()
        for index in chosen:
            weight = weight.plus(self._tenants[index])
        if self._limit is None or weight < self._limit:
            self._best = weight, tuple(chosen)

    def _has_room(self, left_mb: Iterable[int]) -> bool:
        return sum([left >= self._share_mb for left in left_mb]) >= self._count

    def _without(self, chosen: Iterable[int]) -> list[int]:
        left_mb = list(self._left_mb)
        for index in chosen:
            left_mb = [left + gain for left, gain in zip(left_mb, self._gains[index], strict=True)]
        return left_mb

    def _rests(self) -> list[list[int]]:
        """Return, from each tenant on, what all of the following hold."""
        rest = [0] * len(self._able)
        rests = [rest]
        for gain in reversed(self._gains):
            rest = [more + held for more, held in zip(rest, gain, strict=True)]
            rests.append(rest)
        return rests[::-1]
