"""Finds models that should leave unasked: those without work for as long as their load says, and those in the way.

In the way is who could go from a device that strangers press on (``residency/pressure.py``). Nothing is cut for either.
"""

import logging
from collections.abc import Mapping

from cortex.contract.instance import UnloadReason
from cortex.kit.clock import Clock
from cortex.neuron.admission import Admission
from cortex.neuron.holder import Holders
from cortex.neuron.instance import Instance
from cortex.neuron.sampler import Sampler
from cortex.neuron.tenant import tenants_of
from cortex.residency.eviction import Tenant
from cortex.residency.pressure import PressureWatch, choose_relief

log = logging.getLogger(__name__)

ASK_AGAIN_S = 30.0
"""One that has stayed is left alone for so long: while it is asked, it gets no requests."""


class Relief:
    """Looks at one node after each sample."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        admission: Admission,
        sampler: Sampler,
        holders: Holders,
        clock: Clock,
    ) -> None:
        self._instances = instances
        self._admission = admission
        self._sampler = sampler
        self._holders = holders
        self._clock = clock
        self._watch = PressureWatch(admission.headroom_mb)
        self._asked_s: dict[str, float] = {}

    def leavers(self) -> dict[str, UnloadReason]:
        """Return the models that should be asked to leave now, and why each."""
        now_s = self._clock.now_s()
        self._asked_s = {key: asked_s for key, asked_s in self._asked_s.items() if now_s - asked_s < ASK_AGAIN_S}
        tenants = tenants_of(self._instances, self._holders, now_s)
        idle = [key for key, tenant in tenants.items() if self._is_idle(key, tenant, now_s)]
        for key in idle:
            log.info("%s: idle, it is unloaded", key)
        relief = self._relief(tenants, now_s)
        leavers: dict[str, UnloadReason] = dict.fromkeys(idle, "idle")
        if relief is not None:
            leavers.setdefault(relief, "pressure")
        self._asked_s.update(dict.fromkeys(leavers, now_s))
        return leavers

    def _is_idle(self, key: str, tenant: Tenant, now_s: float) -> bool:
        return (
            not tenant.in_flight
            and key not in self._asked_s
            and self._instances[key].is_idle(now_s, self._holders.usage(key))
        )

    def _relief(self, tenants: Mapping[str, Tenant], now_s: float) -> str | None:
        """Return who should make room for strangers."""
        sample = self._sampler.latest
        free = {index: reading.vram_free_mb for index, reading in enumerate(sample.readings)}
        pressed = self._watch.note(free, sample.taken_s)
        idle_s = {
            key: now_s - (self._instances[key].active_s or 0.0)
            for key, tenant in tenants.items()
            if tenant.is_evictable and self._instances[key].is_work_known and key not in self._asked_s
        }
        leaving = [key for key, tenant in tenants.items() if tenant.status in ("draining", "unloading")]
        relief = choose_relief(pressed, self._admission.book.residents, idle_s, leaving)
        if relief is not None:
            log.warning("%s: unloaded, since others have left too little memory on device %s", relief, sorted(pressed))
        return relief
