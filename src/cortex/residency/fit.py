"""Decides whether a model fits on given devices: the one arithmetic of memory, used by neuron and gateway.

Room on a device = total - strangers - sum over residents of max(declared, measured) - reservations - headroom.

It reads no hardware and keeps nothing; ``reservation.py`` keeps. All amounts are MiB. Strangers are processes that are
no engine of ours; where their use is unknown the books alone decide, and the answer says so (``is_certain``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

InfeasibleReason = Literal["no_such_device", "too_large", "no_room"]


class DeviceRoom(msgspec.Struct, frozen=True, kw_only=True):
    """One device as it was measured. ``strangers_mb`` None: nobody could tell."""

    index: int
    total_mb: int
    strangers_mb: int | None = 0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A resident's part on one device; ``measured_mb`` None: the engine's use could not be told apart."""

    device: int
    declared_mb: int
    measured_mb: int | None = None

    @property
    def held_mb(self) -> int:
        """What must be counted: the larger of promise and measurement."""
        return max(self.declared_mb, self.measured_mb or 0)


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that holds memory. ``is_evictable``: it could be asked to leave (not pinned, not loading)."""

    key: str
    shares: tuple[Share, ...]
    is_evictable: bool = False


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Memory promised to a load whose engine does not run yet.

    ``awaits``: residents that leave for it. What they still hold counts as theirs, and is the load's as they go.
    """

    key: str
    shares: tuple[Share, ...]
    awaits: tuple[str, ...] = ()


class DeviceVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one device would have to give and has. ``missing_mb`` 0: it has enough."""

    index: int
    need_mb: int
    total_mb: int = 0
    free_mb: int = 0
    missing_mb: int = 0
    evictable_mb: int = 0


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """It fits. ``is_certain`` False: on some device the strangers' use is unknown."""

    devices: tuple[DeviceVerdict, ...]
    is_certain: bool = True


class Infeasible(msgspec.Struct, frozen=True, kw_only=True):
    """It does not fit: ``too_large`` even on the empty device, or ``no_room`` now."""

    reason: InfeasibleReason
    devices: tuple[DeviceVerdict, ...]


def even_share_mb(total_mb: int, count: int) -> int:
    """Return the part of each of ``count`` devices (at least one), rounded up."""
    return -(-total_mb // count)


def even_shares(
    total_mb: int, devices: Sequence[int], measured_mb: Mapping[int, int] | None = None
) -> tuple[Share, ...]:
    """Split a declared amount evenly over exactly these devices; no device, no share."""
    known = measured_mb or {}
    return tuple(
        Share(device=device, declared_mb=even_share_mb(total_mb, len(devices)), measured_mb=known.get(device))
        for device in devices
    )


def fits(
    need_mb: int,
    devices: Sequence[int],
    rooms: Iterable[DeviceRoom],
    *,
    residents: Iterable[Resident] = (),
    reservations: Iterable[Reservation] = (),
    headroom_mb: int = 0,
) -> Fit | Infeasible:
    """Tell whether ``need_mb``, split evenly, fits on exactly ``devices``; no devices need no room."""
    by_index = {room.index: room for room in rooms}
    shares = even_shares(need_mb, devices)
    unknown = tuple(DeviceVerdict(index=s.device, need_mb=s.declared_mb) for s in shares if s.device not in by_index)
    if unknown:
        return Infeasible(reason="no_such_device", devices=unknown)
    guests, promises = tuple(residents), tuple(reservations)
    verdicts = tuple(
        _judge(share.declared_mb, by_index[share.device], guests, promises, headroom_mb) for share in shares
    )
    if any(verdict.need_mb > verdict.total_mb - headroom_mb for verdict in verdicts):
        return Infeasible(reason="too_large", devices=verdicts)
    if any(verdict.missing_mb for verdict in verdicts):
        return Infeasible(reason="no_room", devices=verdicts)
    return Fit(devices=verdicts, is_certain=all(by_index[device].strangers_mb is not None for device in devices))


def room_mb(
    room: DeviceRoom, residents: Iterable[Resident], reservations: Iterable[Reservation], headroom_mb: int
) -> int:
    """Return the room on one device; below zero when more is in use than should be."""
    return rooms_mb((room,), residents, reservations, headroom_mb)[room.index]


def rooms_mb(
    rooms: Iterable[DeviceRoom], residents: Iterable[Resident], reservations: Iterable[Reservation], headroom_mb: int
) -> dict[int, int]:
    """Return the room on each of these devices, by index, in one go through what is held of them."""
    left_mb = {room.index: room.total_mb - (room.strangers_mb or 0) - headroom_mb for room in rooms}
    guests = tuple(residents)
    for resident in guests:
        for share in resident.shares:
            if share.device in left_mb:
                left_mb[share.device] -= share.held_mb
    for reservation in reservations:
        for device in {share.device for share in reservation.shares}.intersection(left_mb):
            left_mb[device] -= promised_on(reservation, guests, device)
    return left_mb


def held_on(shares: Iterable[Share], device: int) -> int:
    """Return what these shares hold of one device."""
    return sum(share.held_mb for share in shares if share.device == device)


def promised_on(reservation: Reservation, residents: Iterable[Resident], device: int) -> int:
    """Return what a promise takes of one device beyond what residents still hold that leave for it."""
    coming = sum(held_on(resident.shares, device) for resident in residents if resident.key in reservation.awaits)
    return max(0, held_on(reservation.shares, device) - coming)


def _judge(
    need_mb: int,
    room: DeviceRoom,
    residents: tuple[Resident, ...],
    reservations: tuple[Reservation, ...],
    headroom_mb: int,
) -> DeviceVerdict:
    free = room_mb(room, residents, reservations, headroom_mb)
    return DeviceVerdict(
        index=room.index,
        need_mb=need_mb,
        total_mb=room.total_mb,
        free_mb=max(0, free),
        missing_mb=max(0, need_mb - free),
        evictable_mb=sum(held_on(resident.shares, room.index) for resident in residents if resident.is_evictable),
    )
