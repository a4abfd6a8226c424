"""Looks again, as long as the neuron runs, what devices there are and which harnesses can be used.

GPUs appear and vanish, drivers come up after the neuron, engines get installed: ``GET /discovery`` changes without a
restart. It looks every minute; where something is out of order at once, and then ever more seldom up to that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from cortex.contract.node import DeviceKind, HarnessDetail
from cortex.neuron.harness.interface import Harness
from cortex.neuron.inventory import Inventory
from cortex.neuron.sampler import Sampler
from cortex.residency.backoff import Backoff

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
IN_TROUBLE = Backoff(first_s=5.0, limit_s=INTERVAL_S)

Renewed = Callable[[Inventory, Sequence[HarnessDetail]], None]


class Rediscovery:
    """Everything that can change about the node while it runs, kept current.

    ``inventory_changed`` hears of other devices before the harnesses are asked what they can do with them, ``renewed``
    of each change after it.
    """

    def __init__(
        self,
        sampler: Sampler,
        harnesses: Sequence[Harness],
        details: Iterable[HarnessDetail],
        *,
        is_used: Callable[[int], bool],
        inventory_changed: Callable[[Inventory], None],
        renewed: Renewed,
    ) -> None:
        self._sampler = sampler
        self._harnesses = tuple(harnesses)
        self._details = {detail.name: detail for detail in details}
        self._is_used = is_used
        self._inventory_changed = inventory_changed
        self._renewed = renewed
        self._looks_in_trouble = 0
        self._is_wanted = asyncio.Event()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                async with asyncio.timeout(self.pause_s()):
                    await self._is_wanted.wait()
            except TimeoutError:
                pass
            self._is_wanted.clear()
            try:
                await self.look()
            except Exception:  # what was found before still holds
                log.exception("looking for changes of the node failed")

    def pause_s(self) -> float:
        """Return how long after a look the next one is due."""
        return IN_TROUBLE.delay_s(self._looks_in_trouble - 1) if self._looks_in_trouble else INTERVAL_S

    def want(self) -> None:
        """Have a look soon, because somebody asks for it."""
        self._is_wanted.set()

    def sampled(self) -> None:
        """Have a look soon when the newest sample has a trouble that the last look did not know of."""
        if not self._looks_in_trouble and self._is_in_trouble():
            self.want()

    async def look(self) -> None:
        """Find out what there is, and tell if it is not as before."""
        before = self._sampler.inventory
        inventory = await self._sampler.discover(self._is_used)
        is_other = before is None or inventory.devices != before.devices
        if is_other:
            self._inventory_changed(inventory)
            await self._sampler.refresh()
        details = await self._probed([h for h in self._harnesses if is_other or not self._details[h.name].usable])
        self._looks_in_trouble = self._looks_in_trouble + 1 if self._is_in_trouble() else 0
        if before is None or _told(inventory) != _told(before) or details != self._details:
            self._tell(inventory, details)

    async def _probed(self, harnesses: Sequence[Harness]) -> dict[str, HarnessDetail]:
        """Return all details, those of these harnesses found out anew."""
        answers = await asyncio.gather(*(probed(harness) for harness in harnesses), return_exceptions=True)
        details = dict(self._details)
        for harness, answer in zip(harnesses, answers, strict=True):
            if isinstance(answer, HarnessDetail):
                details[harness.name] = answer
            else:
                log.error("harness %s: its probe failed", harness.name, exc_info=answer)
        return details

    def _tell(self, inventory: Inventory, details: dict[str, HarnessDetail]) -> None:
        for name, detail in details.items():
            if detail.usable != self._details[name].usable:
                fate = "can be used now" if detail.usable else f"cannot be used any more: {detail.why_not}"
                log.warning("harness %s %s", name, fate)
        self._details = details
        devices = ", ".join(f"{device.index}: {device.name}" for device in inventory.devices) or "none"
        log.info("the node has changed; devices: %s", devices)
        self._renewed(inventory, tuple(details.values()))

    def _is_in_trouble(self) -> bool:
        inventory = self._sampler.inventory
        readings = self._sampler.latest.readings
        return bool(inventory and inventory.troubles) or any(reading.trouble for reading in readings)


async def probed(harness: Harness) -> HarnessDetail:
    """Return what can be said of a harness now, the kinds of devices that it can use included."""
    detail = await harness.probe()
    return msgspec.structs.replace(
        detail,
        device_kinds=tuple(sorted(harness.device_kinds)),
        is_shared=harness.capabilities.process_model == "shared",
    )


def _told(inventory: Inventory) -> Inventory:
    """Return what ``GET /discovery`` tells: a device that is missing is listed until it is gone."""
    return msgspec.structs.replace(inventory, missing=frozenset())


def gpu_kinds(inventory: Inventory) -> frozenset[DeviceKind]:
    """Return the kinds of GPU that there are."""
    return frozenset(device.kind for device in inventory.devices) - {"cpu"}
