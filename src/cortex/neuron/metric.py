"""The neuron's own metrics in Prometheus' format, made of what ``/discovery``, ``/health`` and ``/models`` tell.

What a device does not tell has no sample, rather than 0. Memory is in bytes here, as Prometheus has it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Device, DeviceReading, Discovery, Health
from cortex.kit.exposition import HistogramFamily, exposition
from cortex.kit.loop_lag import LoopLag
from cortex.kit.tls import Tls
from cortex.kit.tracer import Tracer
from cortex.neuron.cuda_check import fits_nothing
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.node import Node
from cortex.neuron.relay import Passed
from cortex.neuron.reloading import Reloading
from cortex.residency.lease_book import LeaseBook

MIB = 1 << 20

DEVICE_LABELS = ("device", "name", "kind")

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float | None]]


class NodeCollector(Collector):
    """Collects one node; ``passed``: what its relay has carried, ``lag``: how late its event loop is."""

    def __init__(
        self,
        node: Node,
        passed: Passed,
        lag: LoopLag,
        tracer: Tracer | None = None,
        tls: Tls | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        self._tracer = tracer
        self._reloading = reloading
        self._tls = tls
        self._node = node
        self._passed = passed
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """Return every metric as it is now."""
        discovery, health = self._node.discovery(), self._node.health()
        yield from _of_devices(discovery, health)
        yield from _of_faults([(device, self._node.reading(device.index)) for device in discovery.devices])
        reports = self._node.supervisor.reports()
        yield from _of_instances(reports)
        yield from _of_leases(reports, self._node.leases.book)
        yield from _of_harnesses(health)
        yield from _of_drivers(discovery, is_mismatched=self._node.is_driver_mismatched)
        yield from _of_loop(self._lag)
        relayed = CounterMetricFamily("cortex_neuron_relayed_bytes", "Of relayed bodies.", labels=("direction",))
        relayed.add_metric(("request",), self._passed.request_bytes)
        relayed.add_metric(("response",), self._passed.response_bytes)
        yield relayed
        if self._tracer is not None:
            yield from _of_spans(self._tracer)
        if self._reloading is not None:
            yield from _of_reloading(self._reloading)
        ends = [] if self._tls is None else [(("neuron",), self._tls.not_after_s)]
        about = "When the certificate ends, in seconds since 1970."
        yield gauge("cortex_tls_certificate_not_after_seconds", about, ("certificate",), ends)
        yield gauge("cortex_sample_age_seconds", "Age of the devices' sample.", (), [((), health.sample_age_s)])
        yield gauge("cortex_discovery_troubles", "Why there may be more devices.", (), [((), len(discovery.troubles))])
        yield gauge("cortex_neuron_maintenance", "1: nothing new is loaded.", (), [((), health.maintenance)])
        yield gauge("cortex_neuron_uptime_seconds", "Time since the start.", (), [((), health.uptime_secs)])
        info = (discovery.neuron_version, discovery.start_id)
        yield gauge("cortex_neuron_info", "Always 1.", ("version", "start_id"), [(info, 1)])


class MetricsPage:
    """``GET /metrics``: a node's metrics and those of the process."""

    def __init__(
        self,
        node: Node,
        passed: Passed,
        lag: LoopLag,
        tracer: Tracer | None = None,
        tls: Tls | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(NodeCollector(node, passed, lag, tracer, tls, reloading))
        for of_process in (ProcessCollector, PlatformCollector, GCCollector):
            of_process(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, in the format that the scraper asks for."""
        return exposition(self._registry, accept)


def gauge(name: str, words: str, labels: Labels, samples: Samples) -> Metric:
    """Return a gauge with those samples that are known."""
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _of_devices(discovery: Discovery, health: Health) -> Iterator[Metric]:
    labels = DEVICE_LABELS
    keys = {device.index: _key(device) for device in discovery.devices}

    def each(tell: Callable[[DeviceReading], float | None], factor: float = 1) -> Samples:
        for reading in health.devices:
            value = tell(reading)
            yield keys[reading.index], None if value is None else value * factor

    totals = [(keys[device.index], device.vram_total_mb * MIB) for device in discovery.devices]
    yield gauge("cortex_device_memory_total_bytes", "Memory of the device.", labels, totals)
    yield gauge("cortex_device_memory_used_bytes", "In use by anybody.", labels, each(lambda r: r.vram_used_mb, MIB))
    yield gauge("cortex_device_memory_free_bytes", "Not in use.", labels, each(lambda r: r.vram_free_mb, MIB))
    yield gauge("cortex_device_memory_strangers_bytes", "By strangers.", labels, each(lambda r: r.strangers_mb, MIB))
    yield gauge("cortex_device_memory_reserved_bytes", "Promised.", labels, each(lambda r: r.reserved_mb, MIB))
    yield gauge("cortex_device_utilization_ratio", "Busy, 0 to 1.", labels, each(lambda r: r.utilization_pct, 0.01))
    yield gauge("cortex_device_temperature_celsius", "Temperature.", labels, each(lambda r: r.temp_c))
    yield gauge("cortex_device_power_watts", "Power drawn.", labels, each(lambda r: r.power_w))
    yield gauge("cortex_device_sample_age_seconds", "Age of its sample.", labels, each(lambda r: r.sample_age_s))
    yield gauge("cortex_device_trouble", "1: its driver fails.", labels, each(lambda r: r.trouble is not None))


def _of_faults(read: Sequence[tuple[Device, Reading]]) -> Iterator[Metric]:
    """Yield what only some drivers tell."""
    limits = [(_key(device), reading.power_limit_w) for device, reading in read]
    yield gauge("cortex_device_power_limit_watts", "Power that it may draw.", DEVICE_LABELS, limits)
    ecc = CounterMetricFamily("cortex_device_ecc_errors", "Since the driver started.", labels=(*DEVICE_LABELS, "type"))
    xid = CounterMetricFamily("cortex_device_xid_errors", "Since the start.", labels=(*DEVICE_LABELS, "xid"))
    for device, reading in read:
        for kind, count in reading.ecc_errors.items():
            ecc.add_metric((*_key(device), kind), count)
        for number, count in reading.xids.items():
            xid.add_metric((*_key(device), str(number)), count)
    yield ecc
    yield xid
    wanted = [((*_key(device), reading.recovery_action), 1) for device, reading in read if reading.recovery_action]
    labels = (*DEVICE_LABELS, "action")
    yield gauge("cortex_device_recovery_action", "1 for what the driver asks for.", labels, wanted)


def _of_drivers(discovery: Discovery, *, is_mismatched: bool) -> Iterator[Metric]:
    counts = Counter(device.kind for device in discovery.devices)
    yield gauge("cortex_devices", "Devices.", ("kind",), [((kind,), n) for kind, n in counts.items()])
    yield gauge("cortex_driver_mismatch", "1: driver and library differ.", (), [((), is_mismatched)])
    supported, devices = discovery.cuda_driver_version, discovery.devices
    wrong = [((one.name, one.kind), fits_nothing(one, supported, devices)) for one in discovery.harness_details]
    about = "1: built for a newer CUDA, or for no GPU here."
    yield gauge("cortex_harness_cuda_mismatch", about, ("harness", "kind"), wrong)


def _of_loop(lag: LoopLag) -> Iterator[Metric]:
    family = HistogramFamily("cortex_event_loop_lag_seconds", "How late the event loop is.", labels=())
    family.add((), lag.histogram)
    yield family
    about = "The longest lag of the last minute."
    yield gauge("cortex_event_loop_lag_worst_seconds", about, (), [((), lag.worst_s())])


def _key(device: Device) -> Labels:
    return str(device.index), device.name, device.kind


def _of_instances(reports: list[InstanceReport]) -> Iterator[Metric]:
    labels = ("model", "harness")
    keyed = [((report.id, report.harness), report) for report in reports]
    states = [((*key, report.status), 1.0) for key, report in keyed]
    yield gauge("cortex_instance_state", "1 for the state it is in.", (*labels, "state"), states)
    memory = [(key, None if r.vram_used_mb is None else r.vram_used_mb * MIB) for key, r in keyed]
    yield gauge("cortex_instance_memory_bytes", "Memory of its engine.", labels, memory)
    yield gauge("cortex_instance_in_flight", "Requests in its engine.", labels, [(k, r.in_flight) for k, r in keyed])
    silent = [(key, r.silent_s or 0.0) for key, r in keyed if r.status in ("loaded", "draining")]
    yield gauge("cortex_instance_silent_seconds", "Its engine has not answered for so long.", labels, silent)
    yield gauge("cortex_instance_load_seconds", "Its last load took.", labels, [(k, r.load_s) for k, r in keyed])
    restarts = CounterMetricFamily("cortex_instance_restarts", "Loads after the first one.", labels=labels)
    for key, report in keyed:
        restarts.add_metric(key, report.restarts)
    yield restarts


def _of_leases(reports: list[InstanceReport], book: LeaseBook) -> Iterator[Metric]:
    labels = ("model", "harness")
    served = [((report.id, report.harness), report.id) for report in reports if report.status in ("loaded", "draining")]
    holders = [(key, len(book.holders(model))) for key, model in served]
    yield gauge("cortex_instance_holders", "Gateways that hold it.", labels, holders)
    kept = [(key, book.debris(model)) for key, model in served]
    yield gauge("cortex_instance_slots_settling", "Slots that nobody may use yet.", labels, kept)


def _of_spans(tracer: Tracer) -> Iterator[Metric]:
    yield CounterMetricFamily("cortex_spans_sent", "Spans that the collector has taken.", value=tracer.sent)
    yield CounterMetricFamily("cortex_spans_dropped", "Spans that were lost.", value=tracer.dropped)


def _of_reloading(reloading: Reloading) -> Iterator[Metric]:
    about = "1: what was last read again could be used, 0: what was before goes on."
    yield gauge("cortex_config_reload_success", about, (), [((), reloading.is_good)])
    about = "When the file was last read and could be used, in seconds since 1970."
    yield gauge("cortex_config_reload_seconds", about, (), [((), reloading.read_s)])


def _of_harnesses(health: Health) -> Iterator[Metric]:
    labels, all_of = ("harness", "kind"), [((h.name, h.kind), h) for h in health.harnesses]
    yield gauge("cortex_harness_healthy", "1: it can be used.", labels, [(key, h.healthy) for key, h in all_of])
    yield gauge("cortex_harness_cycles", "Unloads.", labels, [(key, h.cycles) for key, h in all_of])
    leaking = [(key, h.leaking_cycles) for key, h in all_of]
    yield gauge("cortex_harness_leaking_cycles", "Unloads whose memory did not come back.", labels, leaking)
