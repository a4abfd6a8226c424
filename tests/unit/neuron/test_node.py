"""What a neuron tells of its host beyond what the API's own tests look at."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import LIMITS, FakeHarness, FakeNode, FakeProbe, a_node, a_request

from cortex.contract.node import HarnessDetail
from cortex.neuron.node import Node


def a_told_node(node: FakeNode, details: list[HarnessDetail]) -> Node:
    return Node(
        node.inventory,
        details,
        node.supervisor,
        node.sampler,
        node.admission,
        node.events,
        node.clock,
        node.leases,
        headroom_mb=512,
        labels={"zone": "attic"},
        started_s=node.clock.now_s() - 60,
    )


def test_only_usable_entries_are_offered_and_all_are_explained(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_node(tmp_path) as node:
            details = [
                HarnessDetail(name="good", kind="llamacpp", usable=True, version="1"),
                HarnessDetail(name="bad", kind="mistralrs", usable=False, why_not="not built in"),
            ]
            found = a_told_node(node, details).discovery()
            assert (found.harnesses, found.harness_details) == (("good",), tuple(details))
            assert (found.headroom_mb, found.event) == (512, node.events.event)
            assert found.labels == {"zone": "attic"}
            assert (found.drain_timeout_s, found.evict_grace_s, found.max_wait_s) == LIMITS

    asyncio.run(scenario())


def test_what_there_is_changes_without_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_node(tmp_path, FakeHarness(), probe=FakeProbe((1000,))) as node:
            told = a_told_node(node, [HarnessDetail(name="fake", kind="fake", usable=False, why_not="no binary")])
            node.probe.devices = FakeProbe((1000, 2000)).devices
            inventory = await node.sampler.discover()
            usable = [HarnessDetail(name="fake", kind="fake", usable=True)]
            told.renew(inventory, usable)
            node.supervisor.renew(inventory.devices, usable)
            found, health = told.discovery(), told.health()
            assert ([device.index for device in found.devices], found.harnesses) == ([0, 1], ("fake",))
            assert [reading.vram_free_mb for reading in health.devices] == [1000, None], "not sampled yet"
            await node.sampler.refresh()
            assert [reading.vram_free_mb for reading in told.health().devices] == [1000, 2000]
            await node.load(devices=(1,))
            assert node.status() == "loaded"
            assert [node.supervisor.is_used(index) for index in (0, 1)] == [False, True]

    asyncio.run(scenario())


def test_a_device_that_is_gone_leaves_a_hole_and_the_others_keep_their_readings(tmp_path: Path) -> None:
    async def scenario() -> None:
        probe = FakeProbe((1000, 2000))
        first, second = (msgspec.structs.replace(d, uuid=f"GPU-{n}") for n, d in enumerate(probe.devices))
        probe.devices = (first, second)
        async with a_node(tmp_path, FakeHarness(), probe=probe) as node:
            told = a_told_node(node, [])
            probe.devices = (second,)
            for _ in range(2):
                inventory = await node.sampler.discover()
            await node.sampler.refresh()
            told.renew(inventory, [])
            node.admission.renew(inventory.devices)
            assert [(r.index, r.vram_free_mb, r.strangers_mb) for r in told.health().devices] == [(1, 2000, 0)]

    asyncio.run(scenario())


def test_a_device_in_trouble_says_so_with_the_age_of_what_is_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_node(tmp_path, FakeHarness()) as node:
            told = a_told_node(node, [])
            node.sampler._lanes[0].is_hanging = True
            node.sampler._assemble()
            node.clock.advance(20)
            health = told.health()
            (reading,) = health.devices
            assert (reading.trouble, reading.sample_age_s) == ("its driver does not answer", 20)
            assert (health.stale, health.sample_age_s) == (True, 20)

    asyncio.run(scenario())


def test_health_counts_strangers_and_promises_per_device(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_node(tmp_path, FakeHarness(), probe=FakeProbe((1000, 1000))) as node:
            node.harness.start_gate.clear()
            await node.supervisor.load(a_request(vram_mb=200, devices=(1,)))
            node.probe.uses = {0: {1: 300}}
            await node.sampler.refresh()
            health = a_told_node(node, []).health()
            assert [(d.strangers_mb, d.reserved_mb) for d in health.devices] == [(300, 0), (0, 200)]
            assert health.uptime_secs == pytest.approx(60)

    asyncio.run(scenario())
