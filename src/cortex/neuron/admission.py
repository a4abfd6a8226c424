"""Decides whether a load gets memory, by the books and the newest sample; the only writer of the books.

Strangers' use of a device is what is in use less what the engines use that hold a share of it. Where a probe cannot
tell one process from another, an engine is taken to use what it declared, and while it loads no more than has come to
be in use meanwhile. What a process uses that serves several
models is divided among them (``residency/division.py``). What an engine uses of a device that it holds no share of
(the RAM of one on a GPU) is in no book, and counts as a stranger's. Where a GPU's memory is the host's RAM, what is
promised of it under the CPU's number is gone for the GPU too, and the other way round.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from cortex.contract.node import Device, DeviceKind
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.refusal import NoRoom
from cortex.neuron.sampler import Snapshot
from cortex.residency.division import divided_mb
from cortex.residency.fit import DeviceRoom, DeviceVerdict, Fit, Infeasible, Resident, held_on, room_mb
from cortex.residency.reservation import ReservationBook


class Admission:
    """The memory of this node. ``snapshot`` gives the newest sample, ``pids`` our engines' processes by model id."""

    def __init__(
        self,
        devices: tuple[Device, ...],
        headroom_mb: int,
        snapshot: Callable[[], Snapshot],
        pids: Callable[[], Mapping[str, int]],
    ) -> None:
        self.book = ReservationBook(headroom_mb)
        self.headroom_mb = headroom_mb
        self._devices = devices
        self._snapshot = snapshot
        self._pids = pids
        self._used_before: dict[str, tuple[int | None, ...]] = {}
        """What was in use of every device when an engine began that does not serve yet."""

    def renew(self, devices: tuple[Device, ...]) -> None:
        """Note what devices there are from now on."""
        self._devices = devices

    def admit(self, key: str, need_mb: int, devices: Sequence[int]) -> Fit:
        """Reserve memory for a load. Raises: NoRoom with what is missing where."""
        verdict = self.book.reserve(key, need_mb, devices, self.rooms())
        if isinstance(verdict, Infeasible):
            raise no_room(need_mb, verdict.reason, verdict.devices)
        return verdict

    def begin(self, key: str) -> None:
        """Note that the engine runs for which memory was reserved. Raises: KeyError when none was."""
        self.book.commit(key)
        self._used_before[key] = tuple(reading.vram_used_mb for reading in self._snapshot().readings)

    def settle(self, key: str) -> None:
        """Note that an engine serves: it has taken what it takes."""
        self._used_before.pop(key, None)

    def release(self, key: str) -> None:
        """Take back what an engine had that is gone."""
        self.book.release(key)
        self._used_before.pop(key, None)

    def choose(
        self, kinds: frozenset[DeviceKind], count: int | None, need_mb: int, without: Collection[str] = ()
    ) -> tuple[int, ...]:
        """Return devices for a load that names none: of one kind, the emptiest, GPUs before the CPU, as few as hold it.

        ``without``: as if these models were gone. When nothing holds it, the fewest; none when there is no device of
        these kinds (or too few).
        """
        usable = [device for device in self._devices if device.kind in kinds]
        pool = [device for device in usable if device.kind != "cpu"] or usable
        rooms = {room.index: room for room in self.rooms()}
        known_first = sorted(pool, key=lambda device: self._rank(rooms[device.index], without))
        emptiest = sorted(pool, key=lambda device: self._rank(rooms[device.index], without)[1])
        counts = range(1, len(pool) + 1) if count is None else (count,)
        choices = [choice for order in (known_first, emptiest) for n in counts for choice in _of_one_kind(order, n)]
        known = tuple(rooms.values())
        fitting = (c for c in choices if isinstance(self.book.judge(need_mb, c, known, without=without), Fit))
        return next(fitting, choices[0] if choices else ())

    def observe(self) -> None:
        """Enter what the newest sample says about our engines."""
        pids = self._pids()
        by_pid: dict[int, list[Resident]] = {}
        for resident in self.book.residents:
            if resident.key in pids:
                by_pid.setdefault(pids[resident.key], []).append(resident)
        for pid, residents in by_pid.items():
            for resident, part in zip(residents, divided_mb(self.held_mb(pid), residents), strict=True):
                self.book.measure(resident.key, part)

    def declared_mb(self, key: str) -> dict[int, int]:
        """Return what a resident declared, by device."""
        shares = [share for resident in self.book.residents if resident.key == key for share in resident.shares]
        return {share.device: share.declared_mb for share in shares}

    def measured_mb(self, key: str) -> dict[int, int]:
        """Return what was last measured of a resident, by device, as far as it could be told."""
        shares = [share for resident in self.book.residents if resident.key == key for share in resident.shares]
        return {share.device: share.measured_mb for share in shares if share.measured_mb is not None}

    def held_mb(self, pid: int) -> dict[int, int]:
        """Return what a process uses, by device, as far as the probes can tell."""
        return {
            index: reading.processes[pid].held_mb
            for index, reading in enumerate(self._snapshot().readings)
            if reading.processes is not None and pid in reading.processes
        }

    def rooms(self) -> tuple[DeviceRoom, ...]:
        """Return every device as the newest sample has it."""
        return tuple(
            DeviceRoom(index=d.index, total_mb=d.vram_total_mb, strangers_mb=self.strangers_mb(d.index))
            for d in self._devices
        )

    def strangers_mb(self, device: int) -> int | None:
        """Return what processes that are not ours use of a device; None when the device does not tell."""
        readings = self._snapshot().readings
        reading = readings[device] if device < len(readings) else Reading()
        if reading.vram_used_mb is None:
            return None
        holders = {r.key: held for r in self.book.residents if (held := held_on(r.shares, device))}
        if reading.processes is None:
            ours = self._taken_mb(device, reading.vram_used_mb, holders)
        else:
            pids = {pid for key, pid in self._pids().items() if key in holders}
            ours = sum(use.counted_mb for pid, use in reading.processes.items() if pid in pids)
        return max(0, reading.vram_used_mb - ours) + self._promised_elsewhere_mb(device)

    def _taken_mb(self, device: int, used_mb: int, holders: Mapping[str, int]) -> int:
        """Return what our engines are taken to use of a device that does not tell processes apart."""
        coming = {key: before for key, before in self._used_before.items() if key in holders}
        known = [before[device] if device < len(before) else None for before in coming.values()]
        grown_mb = max(0, used_mb - min((used_mb if mb is None else mb for mb in known), default=used_mb))
        serving_mb = sum(held for key, held in holders.items() if key not in coming)
        return serving_mb + min(grown_mb, sum(holders[key] for key in coming))

    def _promised_elsewhere_mb(self, device: int) -> int:
        """Return what others may still take of the same memory under another number, and is not in use yet."""
        ram = {d.index for d in self._devices if d.kind == "cpu" or d.unified}
        others = ram - {device} if device in ram else set()
        residents = [share for resident in self.book.residents for share in resident.shares]
        promises = [share for reservation in self.book.reservations for share in reservation.shares]
        unseen = [share.held_mb - (share.measured_mb or 0) for share in residents if share.device in others]
        return sum(unseen) + sum(share.held_mb for share in promises if share.device in others)

    def _rank(self, room: DeviceRoom, without: Collection[str]) -> tuple[bool, int]:
        """Return what puts the emptiest device first; one that does not tell what is in use now may be full."""
        readings = self._snapshot().readings
        is_in_trouble = room.index < len(readings) and readings[room.index].trouble is not None
        return is_in_trouble or room.strangers_mb is None, -self._room_mb(room, without)

    def _room_mb(self, room: DeviceRoom, without: Collection[str]) -> int:
        residents = [resident for resident in self.book.residents if resident.key not in without]
        return room_mb(room, residents, self.book.reservations, self.headroom_mb)


def _of_one_kind(order: Iterable[Device], count: int) -> Iterator[tuple[int, ...]]:
    """Yield the first ``count`` devices of each kind; a process sees one MIG device only."""
    by_kind: dict[DeviceKind, list[int]] = {}
    for device in order:
        by_kind.setdefault(device.kind, []).append(device.index)
    for kind, indices in by_kind.items():
        if count <= (1 if kind == "mig" else len(indices)):
            yield tuple(sorted(indices[:count]))


def no_room(need_mb: int, reason: str, devices: Sequence[DeviceVerdict], retry_in_s: float | None = None) -> NoRoom:
    """Return the refusal of a load that does not fit, with what is missing on which device.

    ``retry_in_s``: when to ask again, where what is under way may change that.
    """
    wanting = [device for device in devices if device.missing_mb] or list(devices)
    parts = [
        f"device {device.index} has {device.free_mb} MiB free of {device.total_mb}, {device.need_mb} are needed"
        for device in wanting
    ]
    never = "; it would not fit on the empty device either" if reason == "too_large" else ""
    soon = "" if retry_in_s is None else f"; others are leaving, or may stay: ask again in {retry_in_s:.1f} s"
    when = {} if retry_in_s is None else {"retry_in_s": round(retry_in_s, 3)}
    return NoRoom(
        f"{need_mb} MiB do not fit: {'; '.join(parts)}{never}{soon}",
        reason=reason,
        need_mb=need_mb,
        devices=[
            {
                "index": device.index,
                "need_mb": device.need_mb,
                "free_mb": device.free_mb,
                "missing_mb": device.missing_mb,
                "evictable_mb": device.evictable_mb,
                "total_mb": device.total_mb,
            }
            for device in devices
        ],
        **when,
    )
