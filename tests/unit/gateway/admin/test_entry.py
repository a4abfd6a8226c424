"""Nodes and instances as the admin API shows them."""

import msgspec
from tests.unit.gateway.admin.scene import BEAST, BENJY, a_health, a_model, a_node, a_report, a_view

from cortex.contract.admin import DeviceEntry
from cortex.contract.instance import InstanceError
from cortex.contract.node import DeviceReading, HarnessDetail, HarnessHealth
from cortex.fleet.view import NodeView, ReplicaView
from cortex.gateway.admin.entry import instance_entries, node_entries


def test_a_node_shows_its_devices_with_what_they_tell_and_nothing_made_up() -> None:
    beast, benjy = node_entries(a_view())
    assert beast.devices == (
        DeviceEntry(index=0, name="GPU", kind="cuda", vram_total_mb=32_000, vram_free_mb=9_000),
        DeviceEntry(index=1, name="GPU", kind="cuda", vram_total_mb=32_000),
    )
    assert (beast.healthy, beast.loaded, beast.in_flight) == (True, ("org/big",), 2)
    assert (benjy.healthy, benjy.why, benjy.loaded, benjy.in_flight) == (False, "connection refused", (), 0)


def test_a_device_shows_all_that_its_reading_tells() -> None:
    told = {"utilization_pct": 12.0, "temp_c": 61.0, "power_w": 80.5, "strangers_mb": 3, "reserved_mb": 5}
    reading = msgspec.convert({"index": 0, **told}, DeviceReading)
    node = msgspec.structs.replace(BEAST, health=msgspec.structs.replace(a_health((1,)), devices=(reading,)))
    device = node_entries(a_view([node], []))[0].devices[0]
    assert {name: getattr(device, name) for name in told} == told


def test_a_node_that_was_never_heard_of_is_shown_all_the_same() -> None:
    (node,) = node_entries(a_view([NodeView(name="new")], []))
    assert (node.healthy, node.why, node.hostname, node.devices) == (False, "not asked yet", None, ())


def test_maintenance_and_harnesses_are_shown() -> None:
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=False, why_not="no binary")
    state = HarnessHealth(name="llamacpp", kind="llamacpp", healthy=False, cycles=7, restart_due=True)
    health = msgspec.structs.replace(a_health((1,)), maintenance=True, harnesses=(state,))
    node = msgspec.structs.replace(a_node("n", details=(detail,)), health=health)
    (entry,) = node_entries(a_view([node], []))
    assert entry.maintenance
    (harness,) = entry.harnesses
    assert (harness.why_not, harness.healthy, harness.cycles, harness.restart_due) == ("no binary", False, 7, True)


def test_instances_are_in_order_with_both_what_the_node_and_what_this_gateway_knows() -> None:
    old, big = instance_entries(a_view([BENJY, BEAST]))
    assert (old.model, old.node, old.status, old.ready, old.in_flight) == ("old", "benjy", "failed", False, 0)
    assert (big.model, big.node, big.status, big.ready, big.in_flight) == ("org/big", "beast", "loaded", True, 2)
    assert big.generation == 3


def test_a_failed_instance_says_why() -> None:
    error = InstanceError(code="out_of_memory", message="no", log_tail=("last words",))
    (entry,) = instance_entries(a_view([a_node("n", models=[a_report("m", "failed", error=error)])], []))
    assert entry.error == error


def test_what_other_gateways_leave_to_this_one_is_shown() -> None:
    replica = ReplicaView(node="n", generation=1, is_ready=True, in_flight=1, parallel=4, last_used_s=0.0, slots=3)
    (entry,) = instance_entries(
        a_view([a_node("n", models=[a_report("m", parallel=4)])], [a_model("m", replicas=(replica,))])
    )
    assert (entry.parallel, entry.slots, entry.in_flight) == (4, 3, 1)


def test_an_instance_that_only_this_gateway_knows_of_is_shown() -> None:
    (entry,) = instance_entries(a_view([a_node("gone")], [a_model("m", node="gone")]))
    assert (entry.node, entry.status, entry.generation, entry.ready) == ("gone", "loaded", 3, True)


def test_what_time_alone_changes_is_as_it_is_now() -> None:
    report = a_report("m", idle_s=5.0, protected_s=60.0)
    node = msgspec.structs.replace(a_node("n", models=[report]), worked_s={"m": 70.0}, safe_until_s={"m": 130.0})
    (entry,) = instance_entries(msgspec.structs.replace(a_view([node], []), now_s=100.0))
    assert (entry.idle_s, entry.protected_s) == (30.0, 30.0)
