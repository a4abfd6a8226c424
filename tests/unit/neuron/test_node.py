"""What a neuron tells of its host beyond what the API's own tests look at."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import FakeHarness, FakeNode, FakeProbe, a_node, a_request

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
