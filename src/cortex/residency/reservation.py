"""Keeps the books of one node's memory: reserve all or nothing, commit when the engine runs, release when it is gone.

One writer, the neuron's admission. It knows keys (model ids) and amounts; ``fit.py`` judges. A commit is made as
soon as the engine's process exists: from then on the larger of promise and measurement counts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from cortex.residency.fit import (
    DeviceRoom,
    Fit,
    Infeasible,
    Reservation,
    Resident,
    Share,
    even_shares,
    fits,
    promised_on,
)


class ReservationBook:
    """What is promised to loads and what residents hold, by key. Amounts are MiB."""

    def __init__(self, headroom_mb: int) -> None:
        self._headroom_mb = headroom_mb
        self._reservations: dict[str, Reservation] = {}
        self._residents: dict[str, Resident] = {}

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Engines that run, in the order of their commits."""
        return tuple(self._residents.values())

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """Promises whose engines do not run yet."""
        return tuple(self._reservations.values())

    def judge(
        self,
        need_mb: int,
        devices: Sequence[int],
        rooms: Iterable[DeviceRoom],
        *,
        without: Collection[str] = (),
        beside: Iterable[Reservation] = (),
    ) -> Fit | Infeasible:
        """Tell whether ``need_mb`` would fit, and change nothing.

        ``without``: as if these residents, or promises, were gone; ``beside``: as if this were promised as well.
        """
        return fits(
            need_mb,
            devices,
            rooms,
            residents=tuple(resident for resident in self.residents if resident.key not in without),
            reservations=(*(promise for promise in self.reservations if promise.key not in without), *beside),
            headroom_mb=self._headroom_mb,
        )

    def judge_again(self, key: str, rooms: Iterable[DeviceRoom]) -> Fit | Infeasible:
        """Tell whether what was promised to ``key`` is still there. Raises: KeyError when nothing was."""
        shares = self._reservations[key].shares
        return fits(
            sum(share.declared_mb for share in shares),
            [share.device for share in shares],
            rooms,
            residents=self.residents,
            reservations=[promise for promise in self.reservations if promise.key != key],
            headroom_mb=self._headroom_mb,
        )

    def reserve(
        self,
        key: str,
        need_mb: int,
        devices: Sequence[int],
        rooms: Iterable[DeviceRoom],
        *,
        awaits: Sequence[str] = (),
    ) -> Fit | Infeasible:
        """Promise ``need_mb`` on all of ``devices`` to ``key``, with the room of those it ``awaits``, or nothing.

        Raises: KeyError when ``key`` has memory already, or somebody else awaits the same room.
        """
        self._refuse_second(key)
        for promise in self.reservations:
            for awaited in set(promise.awaits).intersection(awaits):
                raise KeyError(awaited)
        verdict = self.judge(need_mb, devices, rooms, without=awaits)
        if isinstance(verdict, Fit):
            self._reservations[key] = Reservation(key=key, shares=even_shares(need_mb, devices), awaits=tuple(awaits))
        return verdict

    def commit(self, key: str) -> None:
        """Turn a promise into a resident. Raises: KeyError when there is no promise."""
        self._residents[key] = Resident(key=key, shares=self._reservations.pop(key).shares)

    def adopt(self, key: str, declared_mb: int, devices: Sequence[int]) -> None:
        """Enter a resident that was found running; it is there, so nothing is asked. Raises: KeyError as above."""
        self._refuse_second(key)
        self._residents[key] = Resident(key=key, shares=even_shares(declared_mb, devices))

    def measure(self, key: str, measured_mb: Mapping[int, int]) -> None:
        """Note what a resident was seen to use, by device; a device that is not named is unknown."""
        resident = self._residents[key]
        shares = tuple(
            Share(device=s.device, declared_mb=s.declared_mb, measured_mb=measured_mb.get(s.device))
            for s in resident.shares
        )
        self._residents[key] = msgspec.structs.replace(resident, shares=shares)

    def offer(self, key: str, is_evictable: bool) -> None:
        """Note whether a resident could be asked to leave."""
        self._residents[key] = msgspec.structs.replace(self._residents[key], is_evictable=is_evictable)

    def release(self, key: str) -> None:
        """Take back whatever ``key`` has; a second release changes nothing."""
        self._reservations.pop(key, None)
        self._residents.pop(key, None)
        self._await_no_more(key)

    def reserved_mb(self, device: int) -> int:
        """Return what is promised on one device, beyond what those hold who leave for it."""
        return sum(promised_on(reservation, self.residents, device) for reservation in self.reservations)

    def _refuse_second(self, key: str) -> None:
        if key in self._reservations or key in self._residents:
            raise KeyError(key)

    def _await_no_more(self, key: str) -> None:
        """Note that a resident has gone: what comes under its key later goes for nobody."""
        for promise in self.reservations:
            if key in promise.awaits:
                awaits = tuple(other for other in promise.awaits if other != key)
                self._reservations[promise.key] = msgspec.structs.replace(promise, awaits=awaits)
