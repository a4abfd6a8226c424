"""This node in the words of the contract: what ``GET /discovery`` and ``GET /health`` answer."""

from collections.abc import Iterable, Mapping

from cortex import __version__
from cortex.contract.lease import HealthSample, LeaseAnswer, LeasePost
from cortex.contract.node import DeviceReading, Discovery, HarnessDetail, Health
from cortex.contract.snapshot import NodeSnapshot
from cortex.kit.clock import Clock
from cortex.neuron.admission import Admission
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.event import EventCounter
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.gateway_version import GatewayVersions
from cortex.neuron.inventory import Inventory
from cortex.neuron.lease import LeaseDesk, Leases, sampled
from cortex.neuron.sampler import Sampler
from cortex.neuron.supervisor import Supervisor


class Node:
    """Everything that a neuron knows once it has started."""

    def __init__(
        self,
        inventory: Inventory,
        details: Iterable[HarnessDetail],
        supervisor: Supervisor,
        sampler: Sampler,
        admission: Admission,
        events: EventCounter,
        clock: Clock,
        leases: Leases,
        *,
        headroom_mb: int,
        labels: Mapping[str, str] | None = None,
        started_s: float,
    ) -> None:
        self.supervisor = supervisor
        self.leases = leases
        self.feed = EventFeed(events, supervisor.reports, supervisor.health, leases.slots, supervisor.is_in_maintenance)
        self._desk = LeaseDesk(
            leases, events, self.feed, supervisor.reports, self._sample, supervisor.is_in_maintenance
        )
        self._gateways = GatewayVersions()
        self._inventory = inventory
        self._details = tuple(details)
        self._sampler = sampler
        self._admission = admission
        self._events = events
        self._clock = clock
        self._headroom_mb = headroom_mb
        self._labels = dict(labels or {})
        self._started_s = started_s

    def renew(self, inventory: Inventory, details: Iterable[HarnessDetail]) -> None:
        """Note what there is from now on."""
        self._inventory = inventory
        self._details = tuple(details)

    def discovery(self) -> Discovery:
        """Return what there is."""
        inventory, host, limits = self._inventory, self._inventory.host, self.supervisor.limits
        return Discovery(
            hostname=host.hostname,
            os=host.os,
            kernel=host.kernel,
            cuda_version=inventory.cuda_version,
            driver_version=inventory.driver_version,
            devices=inventory.devices,
            harnesses=tuple(detail.name for detail in self._details if detail.usable),
            cuda_driver_version=inventory.cuda_driver_version,
            harness_details=self._details,
            headroom_mb=self._headroom_mb,
            labels=self._labels,
            start_id=self._events.start_id,
            event=self._events.event,
            neuron_version=__version__,
            troubles=inventory.troubles,
            evict_grace_s=limits.grace_s,
            max_wait_s=limits.max_wait_s,
            drain_timeout_s=limits.drain_s,
        )

    def lease(self, post: LeasePost) -> LeaseAnswer:
        """Take in a gateway's report and return what it has not seen yet. Raises: Stale, TooManyGateways."""
        answer = self._desk.answer(post)
        self._gateways.hear(post.gateway_id, post.gateway_version)
        return answer

    def snapshot(self) -> NodeSnapshot:
        """Return all that a gateway plans by."""
        return NodeSnapshot(
            start_id=self._events.start_id,
            event=self._events.event,
            models=tuple(self.supervisor.reports()),
            health=self.health(),
        )

    def health(self) -> Health:
        """Return the newest sample."""
        return Health(
            uptime_secs=round(self._clock.now_s() - self._started_s, 3),
            devices=tuple(self._reading(device.index) for device in self._inventory.devices),
            sample_age_s=round(self._sampler.age_s(), 3),
            harnesses=self.supervisor.health(),
            start_id=self._events.start_id,
            event=self._events.event,
            stale=self._sampler.is_stale,
            maintenance=self.supervisor.is_in_maintenance(),
        )

    @property
    def is_driver_mismatched(self) -> bool:
        """Whether the driver in the kernel and its library are of different versions."""
        return self._inventory.is_driver_mismatched

    def reading(self, index: int) -> Reading:
        """Return what was last read of a device."""
        readings = self._sampler.latest.readings
        return readings[index] if index < len(readings) else Reading()

    def _reading(self, index: int) -> DeviceReading:
        latest, reading = self._sampler.latest, self.reading(index)
        taken_s = latest.taken_by_device_s.get(index)
        return DeviceReading(
            index=index,
            vram_used_mb=reading.vram_used_mb,
            vram_free_mb=reading.vram_free_mb,
            utilization_pct=reading.utilization_pct,
            temp_c=reading.temp_c,
            power_w=reading.power_w,
            strangers_mb=self._admission.strangers_mb(index),
            reserved_mb=self._admission.book.reserved_mb(index),
            sample_age_s=None if taken_s is None else round(self._clock.now_s() - taken_s, 3),
            recovery_action=reading.recovery_action,
            trouble=reading.trouble,
        )

    def _sample(self) -> HealthSample:
        health = self.health()
        return HealthSample(age_s=health.sample_age_s, devices=sampled(health.devices), stale=health.stale)
