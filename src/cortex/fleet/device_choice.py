"""Which devices of one node a profile gets, in a forecast from the last sample.

1. Accelerators of one kind that the harness can use; the CPU counts as a device only where there is none.
   ``min_devices`` = 0 needs none, and so does a harness whose engines use none.
2. The floor: ``min_device_vram_mb`` against each device's whole memory.
3. The share: ``vram_mb`` split evenly over exactly the chosen devices; as few devices as have room now, else as few as
   could ever hold it; the emptiest first, and of whose use nobody knows last.
4. How many: any number from ``min_devices`` on where the engine gives each device some of the layers; a doubling of it
   where each has a part of every layer (what divides evenly by n does so by 2n more often than by n + 1); only one.

Room is counted by ``residency.fit``, the same arithmetic with which the neuron decides.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cortex.contract.node import Device, DeviceKind, Discovery, HarnessDetail, Spread
from cortex.contract.profile import Profile
from cortex.fleet.memory import NodeMemory
from cortex.residency.fit import even_share_mb

Shape = tuple[int | None, int, int]
"""What a model asks of devices: MiB in all, how many at least, how large each."""
DeviceReason = Literal["too_few_devices", "devices_too_small", "too_big"]


class DeviceChoice(msgspec.Struct, frozen=True):
    """The chosen devices, by index. ``fits_free``: there is room now, None: nobody knows. ``free_mb``: their sum."""

    devices: tuple[int, ...]
    fits_free: bool | None
    free_mb: int | None = None


class NoDevices(msgspec.Struct, frozen=True):
    """The node can never serve the profile, whatever is free."""

    code: DeviceReason
    reason: str


class Pool:
    """The devices of one kind on a node of which a model may get some, the emptiest first."""

    __slots__ = (
        "books_mb", "by_books", "could_be_mb", "free_mb", "is_fixed", "is_mig", "known", "memory",
        "spread", "totals_mb",
    )  # fmt: skip

    def __init__(
        self, devices: Sequence[Device], memory: NodeMemory, spread: Spread, *, is_fixed: bool = False
    ) -> None:
        self.memory = memory
        self.is_fixed = is_fixed
        """A server is on all of them, and so is a model that goes into it."""
        self.is_mig = devices[0].kind == "mig"
        self.spread: Spread = "none" if self.is_mig else spread
        self.by_books = tuple(sorted(devices, key=lambda device: (-memory.left_mb[device.index], device.index)))
        """All of them; where nobody knows of strangers there are none."""
        self.known = tuple([device for device in self.by_books if memory.free_mb[device.index] is not None])
        self.free_mb = tuple([memory.left_mb[device.index] for device in self.known])
        self.books_mb = tuple([memory.left_mb[device.index] for device in self.by_books])
        self.totals_mb = tuple(sorted([device.vram_total_mb for device in devices], reverse=True))
        self.could_be_mb = tuple(sorted([memory.could_be_mb[device.index] for device in devices], reverse=True))
        """What each would have left if everybody went who could go, the most first."""

    def of_floor(self, floor_mb: int) -> "Pool | None":
        """Return the pool of those devices that are large enough, None when none is."""
        if floor_mb <= self.totals_mb[-1]:
            return self
        tall = [device for device in self.by_books if device.vram_total_mb >= floor_mb]
        return Pool(tall, self.memory, self.spread) if tall and not self.is_fixed else None

    def counts(self, least: int) -> Sequence[int]:
        """Return on how many devices a model may go that needs at least so many."""
        most = len(self.by_books)
        if self.is_fixed:
            return (most,) if most >= least else ()
        if self.spread == "none":
            return (1,) if least == 1 and most else ()
        if self.spread == "layers":
            return range(least, most + 1)
        return [least << doubled for doubled in range((most // least).bit_length())] if most >= least else ()

    def able(self, share_mb: int) -> list[Device]:
        """Return the devices that could ever hold a share, the emptiest first."""
        least_mb = share_mb + self.memory.headroom_mb
        return [device for device in self.by_books if device.vram_total_mb >= least_mb]


class Offer:
    """What a harness entry finds on a node. ``pools``: its devices by kind; None: its engines need none."""

    __slots__ = ("_devices", "_memory", "fits", "harness", "has_all", "is_shared", "kind", "pools", "spread")

    def __init__(self, harness: str, detail: HarnessDetail | None, discovery: Discovery, memory: NodeMemory) -> None:
        kinds = detail.device_kinds if detail is not None else None
        usable = [device for device in discovery.devices if kinds is None or device.kind in kinds]
        self.harness = harness
        self.kind = detail.kind if detail is not None else harness
        self.is_shared = detail is not None and detail.is_shared
        self.spread: Spread = (detail.spread if detail is not None else None) or "layers"
        self.fits: dict[Shape, tuple[int, int]] = {}
        """For ``seat``, which keeps here how models of each shape fit."""
        self.has_all = len(usable) == len(discovery.devices)
        self._devices, self._memory = discovery.devices, memory
        self.pools = None if kinds == () else self._pools(usable)

    def pools_for(self, profile: Profile) -> tuple[Pool, ...] | None:
        """Return the devices for a model; where its server is, when that has its devices already; None: none needed."""
        if self.pools is None or profile.min_devices == 0:
            return None
        report = self._memory.reports.get(profile.id) if self.is_shared else None
        if report is None or not report.devices:
            return self.pools
        return self._pools([device for device in self._devices if device.index in report.devices], is_fixed=True)

    def _pools(self, usable: Iterable[Device], *, is_fixed: bool = False) -> tuple[Pool, ...]:
        """Return devices by kind: no engine spreads a model over several kinds."""
        usable = tuple(usable)
        by_kind: dict[DeviceKind, list[Device]] = {}
        for device in [device for device in usable if device.kind != "cpu"] or usable:
            by_kind.setdefault(device.kind, []).append(device)
        return tuple([Pool(devices, self._memory, self.spread, is_fixed=is_fixed) for devices in by_kind.values()])


def offer_of(wanted: str, discovery: Discovery, memory: NodeMemory) -> Offer | None:
    """Return what the entry finds that a profile's ``harness`` means; None: the node has no such entry."""
    if wanted not in memory.offers:
        name = offered_harness(wanted, discovery)
        detail = next((detail for detail in discovery.harness_details if detail.name == name), None)
        memory.offers[wanted] = None if name is None else Offer(name, detail, discovery, memory)
    offer: Offer | None = memory.offers[wanted]
    return offer


def offered_harness(wanted: str, discovery: Discovery) -> str | None:
    """Return the name of the usable entry that a profile's ``harness`` means: by name, else by kind."""
    if wanted in discovery.harnesses:
        return wanted
    for detail in discovery.harness_details:
        if detail.kind == wanted and detail.usable:
            return detail.name
    return None


def choose_devices(profile: Profile, offer: Offer) -> DeviceChoice | NoDevices:
    """Return the devices for a profile, by the list above, or why there can never be any."""
    pools = offer.pools_for(profile)
    if pools is None:
        return DeviceChoice((), True)
    found = [_choose_of_one_kind(profile, pool) for pool in pools]
    choices = [choice for choice in found if isinstance(choice, DeviceChoice)]
    if choices:
        return min(choices, key=_preference)
    if found:
        return found[0]
    for_it = "" if offer.has_all else " that the harness can use"
    return NoDevices("too_few_devices", f"has {_count(0)}{for_it}, the model needs {profile.min_devices}")


def _preference(choice: DeviceChoice) -> tuple[int, int, int]:
    return {True: 0, None: 1, False: 2}[choice.fits_free], len(choice.devices), -(choice.free_mb or 0)


def _choose_of_one_kind(profile: Profile, pool: Pool) -> DeviceChoice | NoDevices:
    wanted, had = profile.min_devices, len(pool.by_books)
    if had < wanted:
        return NoDevices("too_few_devices", f"has {_count(had)}, the model needs {wanted}")
    if pool.is_mig and wanted > 1:
        return NoDevices("too_few_devices", f"has MIG devices, of which a process sees one; the model needs {wanted}")
    if not pool.counts(wanted):
        return NoDevices("too_few_devices", f"has a harness that puts a model on one device, the model needs {wanted}")
    tall = pool.of_floor(profile.min_device_vram_mb)
    if tall is None or not tall.counts(wanted):
        large = sum(device.vram_total_mb >= profile.min_device_vram_mb for device in pool.by_books)
        floor, wanted = f"{profile.min_device_vram_mb} MiB or more", max(wanted, had if pool.is_fixed else 0)
        return NoDevices("devices_too_small", f"has {_count(large)} of {floor}, the model needs {wanted}")
    return now_on(tall, wanted, profile.vram_mb) or _ever_on(tall, wanted, profile.vram_mb)


def now_on(pool: Pool, least: int, need_mb: int | None) -> DeviceChoice | None:
    """Return the devices of a pool that have room now, or of which nobody knows that they have none."""
    counts = pool.counts(least)
    if need_mb is not None:
        for count in counts:
            if count <= len(pool.known) and pool.free_mb[count - 1] >= even_share_mb(need_mb, count):
                return chosen_of(pool, pool.known[:count], fits_free=True)
    for count in counts:
        share_mb = even_share_mb(need_mb or 0, count)
        able = pool.able(share_mb)[:count]
        if len(able) == count and (need_mb is None or pool.memory.left_mb[able[-1].index] >= share_mb):
            return chosen_of(pool, able, fits_free=None)
    return None


def _ever_on(pool: Pool, least: int, need_mb: int | None) -> DeviceChoice | NoDevices:
    counts = pool.counts(least)
    for count in counts:
        able = pool.able(even_share_mb(need_mb or 0, count))
        if len(able) >= count:
            return chosen_of(pool, able[:count], fits_free=False)
    headroom_mb = pool.memory.headroom_mb
    spare = f" ({headroom_mb} kept free)" if headroom_mb else ""
    what = "nothing fits" if need_mb is None else f"{need_mb} MiB do not fit"
    return NoDevices("too_big", f"{what} on {_count(max(counts))} of up to {pool.totals_mb[0]} MiB{spare}")


def chosen_of(pool: Pool, devices: Iterable[Device], *, fits_free: bool | None) -> DeviceChoice:
    """Return the choice of these devices."""
    indices = tuple(sorted([device.index for device in devices]))
    known = [free for index in indices if (free := pool.memory.free_mb[index]) is not None]
    return DeviceChoice(indices, fits_free, sum(known) if known else None)


def _count(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"
