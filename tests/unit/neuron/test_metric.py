"""The neuron's metrics: devices, instances and harnesses as Prometheus reads them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.neuron.fake_node import CRASH, MODEL, FakeHarness, FakeNode, a_node

from cortex.contract.instance import UnloadRequest
from cortex.contract.lease import Lease, LeasePost
from cortex.contract.node import MaintenanceRequest
from cortex.kit.loop_lag import LoopLag
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.metric import MIB, MetricsPage
from cortex.neuron.node import Node
from cortex.neuron.relay import Passed

DEVICE = {"device": "0", "name": "cuda device", "kind": "cuda"}
INSTANCE = {"model": MODEL, "harness": "fake"}


def play(tmp_path: Path, scenario: Callable[[FakeNode, Callable[[], list[Metric]]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_node(tmp_path, FakeHarness()) as node:
            told = told_of(node)
            await scenario(node, lambda: scraped(told))

    asyncio.run(run())


def told_of(node: FakeNode) -> Node:
    return Node(
        node.inventory,
        [harness.detail for harness in node.harnesses],
        node.supervisor,
        node.sampler,
        node.admission,
        node.events,
        node.clock,
        node.leases,
        headroom_mb=0,
        started_s=node.clock.now_s(),
    )


def scraped(node: Node) -> list[Metric]:
    passed, lag = Passed(), LoopLag(lambda: 0.0)
    passed.request_bytes, passed.response_bytes = 10, 2000
    lag.histogram.observe(0.3)
    content, content_type = MetricsPage(node, passed, lag).render("")
    assert content_type.startswith("text/plain")
    return list(text_string_to_metric_families(content.decode()))


def value(metrics: Iterable[Metric], name: str, labels: dict[str, str]) -> float | None:
    """Return a sample's value; None when there is none."""
    samples = [sample for metric in metrics for sample in metric.samples if sample.name == name]
    return next((sample.value for sample in samples if sample.labels == labels), None)


def test_a_devices_memory_is_told_in_bytes_and_what_it_does_not_tell_is_missing(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        node.probe.uses = {0: {1: 300}}
        await node.sampler.refresh()
        node.clock.advance(7)
        found = scrape()
        assert value(found, "cortex_device_memory_total_bytes", DEVICE) == 1000 * MIB
        assert value(found, "cortex_device_memory_used_bytes", DEVICE) == 300 * MIB
        assert value(found, "cortex_device_memory_free_bytes", DEVICE) == 700 * MIB
        assert value(found, "cortex_device_memory_strangers_bytes", DEVICE) == 300 * MIB
        assert value(found, "cortex_device_memory_reserved_bytes", DEVICE) == 0
        assert value(found, "cortex_device_temperature_celsius", DEVICE) is None
        assert value(found, "cortex_device_power_watts", DEVICE) is None
        assert value(found, "cortex_sample_age_seconds", {}) == 7

    play(tmp_path, scenario)


def test_faults_of_a_device_are_told_where_its_driver_tells_them(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        reading = Reading(
            power_limit_w=320.0,
            ecc_errors={"corrected": 3, "uncorrected": 1},
            xids={79: 2},
            recovery_action="gpu_reset",
            trouble="its driver does not answer",
        )
        assert value(scrape(), "cortex_device_trouble", DEVICE) == 0
        assert not any(name.startswith(("cortex_device_ecc", "cortex_device_xid")) for name in sampled(scrape()))
        node.probe.read = lambda _: (reading,)  # type: ignore[method-assign]
        await node.sampler.refresh()
        node.clock.advance(3)
        found = scrape()
        assert value(found, "cortex_device_power_limit_watts", DEVICE) == 320
        assert value(found, "cortex_device_ecc_errors_total", {**DEVICE, "type": "uncorrected"}) == 1
        assert value(found, "cortex_device_xid_errors_total", {**DEVICE, "xid": "79"}) == 2
        assert value(found, "cortex_device_recovery_action", {**DEVICE, "action": "gpu_reset"}) == 1
        assert value(found, "cortex_device_trouble", DEVICE) == 1
        assert value(found, "cortex_device_sample_age_seconds", DEVICE) == 3
        assert value(found, "cortex_discovery_troubles", {}) == 0

    play(tmp_path, scenario)


def sampled(metrics: Iterable[Metric]) -> set[str]:
    return {sample.name for metric in metrics for sample in metric.samples}


def test_an_instance_is_told_with_its_state_its_memory_and_its_restarts(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        node.harness.starts.append(CRASH)
        await node.load()
        assert value(scrape(), "cortex_instance_state", {**INSTANCE, "state": "failed"}) == 1
        await node.load()
        node.probe.uses = {0: {node.harness.engines[0].handle.pid: 130}}
        await node.sampler.refresh()
        node.supervisor.sampled()
        found = scrape()
        assert value(found, "cortex_instance_state", {**INSTANCE, "state": "loaded"}) == 1
        assert value(found, "cortex_instance_state", {**INSTANCE, "state": "failed"}) is None
        assert value(found, "cortex_instance_memory_bytes", INSTANCE) == 130 * MIB
        assert value(found, "cortex_instance_restarts_total", INSTANCE) == 1
        assert value(found, "cortex_instance_load_seconds", INSTANCE) is not None
        assert value(found, "cortex_instance_in_flight", INSTANCE) == 0

    play(tmp_path, scenario)


def test_who_holds_an_instance_and_what_it_keeps_back_is_told_while_it_serves(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        await node.load()
        for seq, in_flight in ((1, 3), (2, 1)):
            lease = Lease(model_id=MODEL, generation=1, in_flight=in_flight)
            node.leases.post(
                LeasePost(gateway_id="a", seq=seq, start_id="start-1", seen_event=node.events.event, leases=(lease,))
            )
        found = scrape()
        assert value(found, "cortex_instance_holders", INSTANCE) == 1
        assert value(found, "cortex_instance_slots_settling", INSTANCE) == 2
        node.harness.engines[0].crash()
        await node.until(MODEL, "failed")
        assert value(scrape(), "cortex_instance_holders", INSTANCE) is None

    play(tmp_path, scenario)


def test_a_harness_is_told_with_its_cycles(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        labels = {"harness": "fake", "kind": "fake"}
        assert value(scrape(), "cortex_harness_cycles", labels) == 0
        await node.load()
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        found = scrape()
        assert value(found, "cortex_harness_cycles", labels) == 1
        assert value(found, "cortex_harness_leaking_cycles", labels) == 0
        assert value(found, "cortex_harness_healthy", labels) == 1

    play(tmp_path, scenario)


def test_the_process_and_its_version_are_told_too(tmp_path: Path) -> None:
    async def scenario(_: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        names = {metric.name for metric in scrape()}
        assert {"cortex_neuron_info", "cortex_neuron_uptime_seconds", "process_resident_memory_bytes"} <= names

    play(tmp_path, scenario)


def test_maintenance_shows(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        assert value(scrape(), "cortex_neuron_maintenance", {}) == 0
        node.supervisor.maintain(MaintenanceRequest(on=True))
        assert value(scrape(), "cortex_neuron_maintenance", {}) == 1

    play(tmp_path, scenario)


def test_what_the_relay_has_carried_and_how_late_the_loop_is_is_told(tmp_path: Path) -> None:
    async def scenario(_: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        found = scrape()
        assert value(found, "cortex_neuron_relayed_bytes_total", {"direction": "request"}) == 10
        assert value(found, "cortex_neuron_relayed_bytes_total", {"direction": "response"}) == 2000
        assert value(found, "cortex_event_loop_lag_seconds_count", {}) == 1
        assert value(found, "cortex_event_loop_lag_worst_seconds", {}) == 0

    play(tmp_path, scenario)


def test_devices_are_counted_by_kind_and_a_driver_that_does_not_fit_is_told(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, scrape: Callable[[], list[Metric]]) -> None:
        labels = {"harness": "fake", "kind": "fake"}
        assert value(scrape(), "cortex_devices", {"kind": "cuda"}) == 1
        assert value(scrape(), "cortex_driver_mismatch", {}) == 0
        assert value(scrape(), "cortex_harness_cuda_mismatch", labels) == 0
        node.inventory = msgspec.structs.replace(node.inventory, is_driver_mismatched=True, cuda_driver_version="12.4")
        detail = msgspec.structs.replace(node.harnesses[0].detail, engine_cuda="13.0")
        told = told_of(node)
        told.renew(node.inventory, [detail])
        assert value(scraped(told), "cortex_driver_mismatch", {}) == 1
        assert value(scraped(told), "cortex_harness_cuda_mismatch", labels) == 1

    play(tmp_path, scenario)
