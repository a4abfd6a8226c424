"""What one node's memory is at its last sample, in the words of ``residency.fit``, and what its harnesses find there.

Made once of a ``NodeView`` and kept with it: a view is replaced when something changes, so nothing here grows old. All
of it is a forecast; the neuron decides. Who could go, and when, is decided in ``eviction``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Device, DeviceReading, Discovery, Health
from cortex.residency.fit import (
    DeviceRoom,
    Fit,
    Infeasible,
    Reservation,
    Resident,
    Share,
    even_shares,
    fits,
    held_on,
    rooms_mb,
)

HOLDING = frozenset({"loading", "loaded", "draining", "unloading"})
LEAVING = frozenset({"draining", "unloading"})


class LoadUnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A load that this gateway has asked a node for and that the node does not report yet, with who goes for it."""

    model: str
    need_mb: int = 0
    devices: tuple[int, ...] = ()
    victims: tuple[str, ...] = ()


class NodeMemory:
    """The rooms, residents and promises of a node; amounts are MiB."""

    __slots__ = (
        "_held", "could_be_mb", "free_mb", "headroom_mb", "idle", "left_mb", "loading", "offers", "reports",
        "reservations", "residents", "rooms",
    )  # fmt: skip

    def __init__(
        self,
        rooms: Mapping[int, DeviceRoom],
        reports: Mapping[str, InstanceReport],
        residents: tuple[Resident, ...],
        reservations: tuple[Reservation, ...],
        headroom_mb: int,
    ) -> None:
        self.rooms = rooms
        self.reports = reports
        """What the node says of each model, by id."""
        self.residents = residents
        self.reservations = reservations
        self.headroom_mb = headroom_mb
        self.left_mb = rooms_mb(rooms.values(), residents, reservations, headroom_mb)
        """By the books, without strangers where nobody knows of them; below zero when more is in use than should be."""
        self.free_mb: dict[int, int | None] = {
            index: None if room.strangers_mb is None else max(0, self.left_mb[index]) for index, room in rooms.items()
        }
        """None: nobody knows who else uses it."""
        holding = [reports[resident.key] for resident in residents]
        self.loading = sum([report.status == "loading" for report in holding])
        self.idle = tuple([report for report in holding if _is_idle(report)])
        """Those that could go, as far as the node itself knows; what protects some of them passes."""
        self.offers: dict[str, Any] = {}
        """For ``device_choice``, which keeps here what each harness finds."""
        self._held = {
            resident.key: {share.device: share.held_mb for share in resident.shares} for resident in residents
        }
        self.could_be_mb = dict(self.left_mb)
        """What would be left if all of those went."""
        for report in self.idle:
            for device, held_mb in self._held[report.id].items():
                if device in self.could_be_mb:
                    self.could_be_mb[device] += held_mb

    def held_mb(self, key: str) -> Mapping[int, int]:
        """Return what a resident holds, by device."""
        return self._held.get(key, {})

    def judge(self, need_mb: int, devices: Sequence[int], without: Iterable[str] = ()) -> Fit | Infeasible:
        """Tell what an amount, split evenly, meets on these devices when some have gone."""
        gone = frozenset(without)
        return fits(
            need_mb,
            devices,
            self.rooms.values(),
            residents=[resident for resident in self.residents if resident.key not in gone],
            reservations=self.reservations,
            headroom_mb=self.headroom_mb,
        )

    def has_room(self, need_mb: int, devices: Sequence[int], without: Iterable[str] = ()) -> bool | None:
        """Tell whether it fits; None when it does by the books but nobody knows for sure."""
        verdict = self.judge(need_mb, devices, without)
        if isinstance(verdict, Fit):
            return True if verdict.is_certain else None
        return False

    def beside(self, loads: Iterable[LoadUnderWay]) -> "NodeMemory":
        """Return the memory as it is once these loads are known there; those that the node reports are counted."""
        unseen = [load for load in loads if not self._is_reported(load.model)]
        if not unseen:
            return self
        promises = tuple(
            Reservation(key=load.model, shares=even_shares(load.need_mb, load.devices), awaits=load.victims)
            for load in unseen
        )
        return NodeMemory(self.rooms, self.reports, self.residents, (*self.reservations, *promises), self.headroom_mb)

    def _is_reported(self, model: str) -> bool:
        report = self.reports.get(model)
        return report is not None and report.status in HOLDING


def _is_idle(report: InstanceReport) -> bool:
    is_used = report.in_flight or report.waiting
    return report.status == "loaded" and not (report.pinned or is_used or report.silent_s is not None)


def memory_of(discovery: Discovery, health: Health | None, models: Iterable[InstanceReport]) -> NodeMemory:
    """Return what is known of a node's memory. A stale sample says nothing of what is in use."""
    readings = {} if health is None or health.stale else {reading.index: reading for reading in health.devices}
    reports = {report.id: report for report in models}
    held = [report for report in reports.values() if report.status in HOLDING and report.devices]
    residents = tuple([_resident(report) for report in held])
    loading = [resident for resident, report in zip(residents, held, strict=True) if report.status == "loading"]
    return NodeMemory(
        rooms={device.index: _room(device, readings.get(device.index), residents) for device in discovery.devices},
        reports=reports,
        residents=residents,
        reservations=tuple([_promised(reading, loading) for reading in readings.values() if reading.reserved_mb]),
        headroom_mb=discovery.headroom_mb,
    )


def _resident(report: InstanceReport) -> Resident:
    """Return an instance as a holder of memory; what is known of it, declared or measured, is split evenly."""
    count = len(report.devices)
    measured = None if report.vram_used_mb is None else dict.fromkeys(report.devices, report.vram_used_mb // count)
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
