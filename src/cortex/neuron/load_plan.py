"""Finds out what a load needs and where it goes, and puts together what its engine is started with.

Nothing is reserved here: between a plan and the reservation somebody else may take the room, and is then told.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.neuron.admission import Admission
from cortex.neuron.harness.interface import Harness, Launch, ListedModel, Prepared
from cortex.neuron.load_check import check_devices
from cortex.neuron.refusal import NoSuchDevice
from cortex.neuron.sampler import Sampler
from cortex.neuron.state_dir import Record, StateDir

FRESH_S = 1.0
"""A sample this old is good enough to admit a load."""
SAMPLE_WAIT_S = 5.0
"""How long a load waits for a probe that hangs, before it goes by the newest sample."""


class LoadPlanner:
    """Plans loads on the devices of this node."""

    def __init__(self, devices: tuple[Device, ...], admission: Admission, sampler: Sampler, state: StateDir) -> None:
        self._devices = devices
        self._admission = admission
        self._sampler = sampler
        self._state = state

    def renew(self, devices: tuple[Device, ...]) -> None:
        """Note what devices there are from now on."""
        self._devices = devices

    async def prepare(self, request: LoadRequest, harness: Harness) -> tuple[tuple[int, ...], Prepared]:
        """Return the devices, chosen where none are named, and what the harness found out; the sample is fresh then.

        Raises: CallerError.
        """
        while True:
            devices = self._devices
            planned = await self._prepare(request, harness)
            if devices is self._devices:  # else numbers may mean other devices by now
                return planned

    async def _prepare(self, request: LoadRequest, harness: Harness) -> tuple[tuple[int, ...], Prepared]:
        if harness.capabilities.process_model == "shared":
            return await self._prepare_shared(request, harness)
        if not harness.device_kinds:
            return (), await harness.prepare(request, ())
        if request.devices:
            check_devices(request.devices, harness, self._devices)
            prepared = await harness.prepare(request, self._at(request.devices))
            await self._refresh_sample()
            return request.devices, prepared
        guess = self._choose(request, harness, request.vram_mb or 0)
        prepared = await harness.prepare(request, self._at(guess))
        await self._refresh_sample()
        chosen = self._choose(request, harness, prepared.need_mb)
        if len(chosen) != len(guess):  # the need depends on how many there are
            prepared = await harness.prepare(request, self._at(chosen))
        return chosen, prepared

    async def _prepare_shared(self, request: LoadRequest, harness: Harness) -> tuple[tuple[int, ...], Prepared]:
        """Return the devices of the server that the model goes into: there is no choice."""
        wanted = request.devices or ()
        check_devices(wanted, harness, self._devices)
        prepared = await harness.prepare(request, self._at(wanted))
        await self._refresh_sample()
        return wanted if prepared.devices is None else prepared.devices, prepared

    def launch(self, request: LoadRequest, prepared: Prepared, devices: Iterable[int]) -> Launch:
        """Return the launch of a new generation. Raises: OSError when its number cannot be written down."""
        return self._launch(request, prepared, devices, self._state.next_generation(), secrets.token_hex(16))

    def seen(self, request: LoadRequest, harness: Harness, listed: ListedModel) -> Record:
        """Return the record of a new generation that a shared server has begun by itself. Raises: OSError as above."""
        return Record(
            model_id=listed.id,
            harness=harness.name,
            generation=self._state.next_generation(),
            nonce=secrets.token_hex(16),
            devices=listed.devices,
            need_mb=0,  # nothing was promised: what is measured counts
            is_estimate=True,
            parallel=listed.parallel,
            request=request,
        )

    def relaunch(self, record: Record, prepared: Prepared) -> Launch:
        """Return the launch that a record is of, without devices that are gone for good.

        One that is not shown yet, because its driver is late, is waited for under its old number, which nothing else
        has got (``Sampler.keep_numbers``).
        """
        launch = self._launch(record.request, prepared, self._still_there(record), record.generation, record.nonce)
        return msgspec.structs.replace(launch, devices=(*launch.devices, *self._not_shown(record)))

    def _launch(
        self, request: LoadRequest, prepared: Prepared, devices: Iterable[int], generation: int, nonce: str
    ) -> Launch:
        chosen = self._at(devices)
        return Launch(
            request=request,
            prepared=prepared,
            generation=generation,
            nonce=nonce,
            devices=chosen,
            ordinals=tuple(self._ordinal(device) for device in chosen),
            log=self._state.log_path(request.model_id, generation),
            free_mb=tuple(self._free_mb(device) for device in chosen),
        )

    def _still_there(self, record: Record) -> list[int]:
        """Return a record's devices by their present indices: a UUID is the same device wherever it is now."""
        by_uuid = {device.uuid: device.index for device in self._devices if device.uuid}
        nameless = {device.index for device in self._devices if not device.uuid}
        # One without a UUID, or in a record that has none, is known by its index alone.
        uuids = record.device_uuids or ("",) * len(record.devices)
        known = nameless if record.device_uuids else {device.index for device in self._devices}
        found = [
            by_uuid.get(uuid) if uuid else index if index in known else None
            for index, uuid in zip(record.devices, uuids, strict=False)
        ]
        return [index for index in found if index is not None]

    def _not_shown(self, record: Record) -> Iterator[Device]:
        """Yield a stand-in for each of a record's devices whose UUID and number nothing has now."""
        numbers, uuids = ({getattr(device, name) for device in self._devices} for name in ("index", "uuid"))
        for index, uuid in zip(record.devices, record.device_uuids, strict=False):
            if uuid and uuid not in uuids and index not in numbers:
                yield Device(index=index, name="not shown", vram_total_mb=0, uuid=uuid)

    def _choose(self, request: LoadRequest, harness: Harness, need_mb: int) -> tuple[int, ...]:
        count = request.tensor_parallel
        leaving = [victim.model_id for victim in request.evict]
        chosen = self._admission.choose(harness.device_kinds, count, need_mb, leaving)
        if not chosen:
            wanted = "no device" if count is None else f"not {count} devices"
            raise NoSuchDevice(f"this node has {wanted} that harness '{harness.name}' can use")
        return chosen

    async def _refresh_sample(self) -> None:
        if self._sampler.age_s() > FRESH_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_WAIT_S):
                    await self._sampler.refresh()

    def _at(self, indices: Iterable[int]) -> tuple[Device, ...]:
        by_index = {device.index: device for device in self._devices}
        return tuple(by_index[index] for index in indices)

    def _free_mb(self, device: Device) -> int | None:
        readings = self._sampler.latest.readings
        return readings[device.index].vram_free_mb if device.index < len(readings) else None

    def _ordinal(self, device: Device) -> int:
        """Return a device's place among those of its kind, as drivers count."""
        inventory = self._sampler.inventory
        return 0 if inventory is None else inventory.ordinals.get(device.index, 0)
