"""Which devices of one node a profile gets, in a forecast from the last sample.

1. Accelerators of one kind that the harness can use; the CPU counts as a device only where there is none.
   ``min_devices`` = 0 needs none, and so does a harness whose engines use none.
2. The floor: ``min_device_vram_mb`` against each device's whole memory.
3. The share: ``vram_mb`` split evenly over exactly the chosen devices; as few devices as have room now, else as few as
   could ever hold it; the emptiest first.

Room is counted by ``residency.fit``, the same arithmetic with which the neuron decides.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Device, DeviceKind, DeviceReading, Discovery
from cortex.contract.profile import Profile
from cortex.fleet.view import NodeView
from cortex.residency.fit import (
    DeviceRoom,
    Fit,
    Reservation,
    Resident,
    Share,
    even_share_mb,
    even_shares,
    fits,
    held_on,
    room_mb,
)

DeviceReason = Literal["too_few_devices", "devices_too_small", "too_big"]

HOLDING = frozenset({"loading", "loaded", "draining", "unloading"})


class DeviceChoice(msgspec.Struct, frozen=True):
    """The chosen devices, by index. ``fits_free``: there is room now, None: nobody knows. ``free_mb``: their sum."""

    devices: tuple[int, ...]
    fits_free: bool | None
    free_mb: int | None = None


class NoDevices(msgspec.Struct, frozen=True):
    """The node can never serve the profile, whatever is free."""

    code: DeviceReason
    reason: str


class NodeMemory(msgspec.Struct, frozen=True):
    """What a node's sample says of its memory, in the words of ``residency.fit``."""

    rooms: dict[int, DeviceRoom]
    residents: tuple[Resident, ...]
    reservations: tuple[Reservation, ...]
    headroom_mb: int

    def free_mb(self, device: int) -> int | None:
        """Return the room on a device, None when nobody knows who else uses it."""
        room = self.rooms[device]
        if room.strangers_mb is None:
            return None
        return max(0, room_mb(room, self.residents, self.reservations, self.headroom_mb))

    def has_room(self, need_mb: int, devices: Sequence[int]) -> bool | None:
        """Tell whether an amount, split evenly, fits now; None when it does by the books but nobody knows for sure."""
        verdict = fits(
            need_mb,
            devices,
            self.rooms.values(),
            residents=self.residents,
            reservations=self.reservations,
            headroom_mb=self.headroom_mb,
        )
        if isinstance(verdict, Fit):
            return True if verdict.is_certain else None
        return False


def choose_devices(
    profile: Profile,
    node: NodeView,
    discovery: Discovery,
    kinds: Collection[DeviceKind] | None = None,
    fixed: Collection[int] = (),
) -> DeviceChoice | NoDevices:
    """Return the devices for a profile, by the list above, or why there can never be any.

    ``kinds``: those that the harness can use; None: nobody knows. ``fixed``: where a server is that the model goes
    into; it gets all of them, and no others.
    """
    if profile.min_devices == 0 or kinds == ():
        return DeviceChoice((), True)
    usable = [device for device in discovery.devices if kinds is None or device.kind in kinds]
    if fixed:
        profile = msgspec.structs.replace(profile, min_devices=max(profile.min_devices, len(fixed)))
        usable = [device for device in discovery.devices if device.index in fixed]
    wanted = profile.min_devices
    accelerators = [device for device in usable if device.kind != "cpu"] or usable
    memory = memory_of(node, discovery)
    found = [_choose_of_one_kind(profile, of_kind, memory) for of_kind in _by_kind(accelerators)]
    choices = [choice for choice in found if isinstance(choice, DeviceChoice)]
    if choices:
        return min(choices, key=_preference)
    if found:
        return found[0]
    for_it = "" if len(usable) == len(discovery.devices) else " that the harness can use"
    return NoDevices("too_few_devices", f"has {_count(0)}{for_it}, the model needs {wanted}")


def _preference(choice: DeviceChoice) -> tuple[int, int, int]:
    return {True: 0, None: 1, False: 2}[choice.fits_free], len(choice.devices), -(choice.free_mb or 0)


def _by_kind(devices: Iterable[Device]) -> list[list[Device]]:
    """Return devices by kind: no engine spreads a model over several kinds."""
    by_kind: dict[DeviceKind, list[Device]] = {}
    for device in devices:
        by_kind.setdefault(device.kind, []).append(device)
    return list(by_kind.values())


def _choose_of_one_kind(profile: Profile, devices: list[Device], memory: NodeMemory) -> DeviceChoice | NoDevices:
    wanted = profile.min_devices
    if len(devices) < wanted:
        return NoDevices("too_few_devices", f"has {_count(len(devices))}, the model needs {wanted}")
    if devices[0].kind == "mig" and wanted > 1:
        return NoDevices("too_few_devices", f"has MIG devices, of which a process sees one; the model needs {wanted}")
    tall = [device for device in devices if device.vram_total_mb >= profile.min_device_vram_mb]
    if len(tall) < wanted:
        floor = f"{profile.min_device_vram_mb} MiB or more"
        return NoDevices("devices_too_small", f"has {_count(len(tall))} of {floor}, the model needs {wanted}")
    return _fewest(profile, tall, memory)


def _fewest(profile: Profile, devices: Sequence[Device], memory: NodeMemory) -> DeviceChoice | NoDevices:
    fallback: DeviceChoice | None = None
    most = 1 if devices[0].kind == "mig" else len(devices)
    for count in range(profile.min_devices, most + 1):
        share_mb = even_share_mb(profile.vram_mb or 0, count)
        able = [device for device in devices if device.vram_total_mb - memory.headroom_mb >= share_mb]
        if len(able) < count:
            continue
        choice = _weigh(profile, _emptiest(able, memory)[:count], memory)
        if choice.fits_free is not False:
            return choice
        fallback = fallback or choice
    if fallback is not None:
        return fallback
    largest = max(device.vram_total_mb for device in devices)
    spare = f" ({memory.headroom_mb} kept free)" if memory.headroom_mb else ""
    what = "nothing fits" if profile.vram_mb is None else f"{profile.vram_mb} MiB do not fit"
    reason = f"{what} on {_count(most)} of up to {largest} MiB{spare}"
    return NoDevices("too_big", reason)


def _emptiest(devices: Iterable[Device], memory: NodeMemory) -> list[Device]:
    def expected_mb(device: Device) -> int:
        known = memory.free_mb(device.index)
        return device.vram_total_mb if known is None else known

    return sorted(devices, key=lambda device: (-expected_mb(device), device.index))


def _weigh(profile: Profile, chosen: Sequence[Device], memory: NodeMemory) -> DeviceChoice:
    indices = tuple(sorted(device.index for device in chosen))
    known = [free for index in indices if (free := memory.free_mb(index)) is not None]
    fits_free = None if profile.vram_mb is None else memory.has_room(profile.vram_mb, indices)
    return DeviceChoice(indices, fits_free, sum(known) if known else None)


def _count(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"


def memory_of(node: NodeView, discovery: Discovery) -> NodeMemory:
    """Return what is known of a node's memory."""
    readings = {reading.index: reading for reading in node.health.devices} if node.health is not None else {}
    held = [report for report in node.models if report.status in HOLDING and report.devices]
    residents = tuple(_resident(report) for report in held)
    loading = tuple(_resident(report) for report in held if report.status == "loading")
    return NodeMemory(
        rooms={device.index: _room(device, readings.get(device.index), residents) for device in discovery.devices},
        residents=residents,
        reservations=tuple(_promised(reading, loading) for reading in readings.values() if reading.reserved_mb),
        headroom_mb=discovery.headroom_mb,
    )


def _resident(report: InstanceReport) -> Resident:
    """Return an instance as a holder of memory; what is known of it, declared or measured, is split evenly."""
    count = len(report.devices)
    measured = {} if report.vram_used_mb is None else dict.fromkeys(report.devices, report.vram_used_mb // count)
    return Resident(key=report.id, shares=even_shares(report.declared_mb or 0, report.devices, measured))


def _room(device: Device, reading: DeviceReading | None, residents: Iterable[Resident]) -> DeviceRoom:
    """Return a device's room; use by strangers that the neuron does not name is what the engines do not explain."""
    strangers_mb = None if reading is None else reading.strangers_mb
    if strangers_mb is None and reading is not None and reading.vram_free_mb is not None:
        explained = sum(held_on(resident.shares, device.index) for resident in residents)
        strangers_mb = max(0, device.vram_total_mb - reading.vram_free_mb - explained)
    return DeviceRoom(index=device.index, total_mb=device.vram_total_mb, strangers_mb=strangers_mb)


def _promised(reading: DeviceReading, loading: Iterable[Resident]) -> Reservation:
    """Return what is promised on a device beyond the loads that are counted as residents already."""
    counted = sum(held_on(resident.shares, reading.index) for resident in loading)
    share = Share(device=reading.index, declared_mb=max(0, reading.reserved_mb - counted))
    return Reservation(key=f"device {reading.index}", shares=(share,))
