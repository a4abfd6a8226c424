"""Models that have nothing to do for long enough are unloaded by themselves, and nothing is cut for it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, a_node

from cortex.contract.lease import Lease, LeasePost
from cortex.neuron.harness.interface import Activity


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]], *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses) as node:
            await scenario(node)

    asyncio.run(run())


async def idle_for(node: FakeNode, time_s: float) -> None:
    """Let a model be without work for a while, and have the neuron look at it."""
    await node.supervisor.look()
    node.clock.advance(time_s)
    await node.supervisor.look()


def report_use(node: FakeNode, seq: int, in_flight: int = 0, idle_s: float | None = None) -> None:
    """Have a gateway report what it does with the model."""
    lease = Lease(model_id=MODEL, generation=1, in_flight=in_flight, idle_s=idle_s)
    node.leases.post(LeasePost(gateway_id="g", seq=seq, leases=(lease,)))


def test_a_model_without_work_for_long_enough_is_unloaded(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        await idle_for(node, 59)
        assert node.status() == "loaded"
        await idle_for(node, 2)
        assert node.status() == "draining"
        await node.until(MODEL, "unloaded")
        assert node.supervisor.reports()[0].unload_reason == "idle"
        await node.let_pass(lambda: node.supervisor.health()[0].cycles == 1)
        await node.load(idle_unload_s=60)

    play(tmp_path, scenario)


def test_work_begins_the_time_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        await idle_for(node, 59)
        node.harness.engines[0].activity_now = Activity(in_flight=0, work=5)
        await idle_for(node, 59)
        assert node.status() == "loaded"

    play(tmp_path, scenario)


@pytest.mark.parametrize("spec", [{}, {"idle_unload_s": 60, "pinned": True}], ids=["not asked for", "pinned"])
def test_a_model_that_is_to_stay_stays(tmp_path: Path, spec: dict[str, object]) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(**spec)
        await idle_for(node, 10_000)
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_an_engine_that_does_not_tell_what_it_does_is_never_called_idle(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        await idle_for(node, 10_000)
        assert node.status() == "loaded"

    play(tmp_path, scenario, FakeHarness(reports_in_flight=False))


def test_an_engine_that_does_not_tell_is_idle_when_gateways_have_not_used_it_for_long_enough(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        node.clock.advance(500)
        report_use(node, 1, in_flight=2)
        (told,) = node.supervisor.reports()
        assert (told.in_flight, told.idle_s) == (2, 0.0)
        await idle_for(node, 30)
        report_use(node, 2, idle_s=10)
        (told,) = node.supervisor.reports()
        assert (told.in_flight, told.idle_s) == (0, 10.0)
        await idle_for(node, 49)
        assert node.status() == "loaded"
        await idle_for(node, 2)
        assert node.status() == "draining"

    play(tmp_path, scenario, FakeHarness(reports_in_flight=False))


def test_a_gateway_that_never_had_a_request_there_counts_from_its_first_report(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        node.clock.advance(500)
        report_use(node, 1)
        await idle_for(node, 39)
        report_use(node, 2)
        assert node.status() == "loaded"
        await idle_for(node, 22)
        assert node.status() == "draining"

    play(tmp_path, scenario, FakeHarness(reports_in_flight=False))


def test_a_busy_model_is_not_idle_and_one_that_gets_work_meanwhile_stays(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        engine = node.harness.engines[0]
        engine.activity_now = Activity(in_flight=1, work=1)
        await idle_for(node, 1000)
        assert node.status() == "loaded"
        engine.activity_now = Activity(in_flight=0, work=1)
        await idle_for(node, 61)
        assert node.status() == "draining"
        engine.activity_now = Activity(in_flight=1, work=2)
        await node.until(MODEL, "loaded")
        assert engine.stops == 0

    play(tmp_path, scenario)


def test_a_model_that_is_to_reside_for_longer_than_it_may_be_idle_does_so(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60, min_residency_s=100)
        await idle_for(node, 90)
        assert node.status() == "loaded"
        await idle_for(node, 20)
        assert node.status() == "draining"

    play(tmp_path, scenario)


def test_a_model_that_gateways_have_requests_on_is_not_idle(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        node.holders.counts[MODEL] = 1
        await idle_for(node, 61)
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_one_that_had_to_stay_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=60)
        node.holders.deaf.add(MODEL)
        await idle_for(node, 61)
        await node.until(MODEL, "loaded")
        await node.supervisor.look()
        assert node.status() == "loaded"
        node.holders.deaf.clear()
        await idle_for(node, 31)
        assert node.status() == "draining"

    play(tmp_path, scenario)
