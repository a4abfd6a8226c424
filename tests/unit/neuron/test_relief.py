"""Models that leave unasked because strangers press on a device. (Those without work: ``test_supervisor_idle``.)"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import FakeHarness, FakeNode, FakeProbe, a_node

from cortex.neuron.harness.interface import Activity

STRANGER = 1


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]], *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses, probe=FakeProbe((1000, 1000)), headroom_mb=100) as node:
            await scenario(node)

    asyncio.run(run())


async def seen(node: FakeNode, after_s: float) -> None:
    """Take a sample some time later."""
    node.clock.advance(after_s)
    await node.sampler.refresh()
    await node.supervisor.look()


async def pressed(node: FakeNode) -> None:
    """Have strangers press on device 0 for long enough."""
    node.probe.uses = {0: {STRANGER: 950}}
    for after_s in (100, 5, 5):
        await seen(node, after_s)


def test_the_model_that_has_been_idle_for_longest_makes_room(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        for model_id in ("first", "second"):
            await node.load(model_id, devices=(0,))
            await seen(node, 10)
        await node.load("elsewhere", devices=(1,))
        await pressed(node)
        assert [node.status(key) for key in ("first", "second", "elsewhere")] == ["draining", "loaded", "loaded"]
        await node.until("first", "unloaded")
        assert {report.id: report.unload_reason for report in node.supervisor.reports()} == {
            "first": "pressure", "second": None, "elsewhere": None,
        }  # fmt: skip

    play(tmp_path, scenario)


def test_as_long_as_it_lasts_one_after_the_other_goes(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        for model_id in ("first", "second"):
            await node.load(model_id, devices=(0,))
        await pressed(node)
        for _ in range(2):
            await node.supervisor.look()
            assert (node.status("first"), node.status("second")) == ("draining", "loaded")
        await node.until("first", "unloaded")
        await seen(node, 5)
        await node.until("second", "unloaded")

    play(tmp_path, scenario)


@pytest.mark.parametrize("why", ["pinned", "protected", "busy"])
def test_who_must_not_go_stays_whatever_strangers_do(tmp_path: Path, why: str) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("m", devices=(0,), pinned=why == "pinned", min_residency_s=1e9 if why == "protected" else None)
        if why == "busy":
            node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        await pressed(node)
        assert node.status("m") == "loaded"

    play(tmp_path, scenario)


def test_one_that_does_not_tell_whether_it_works_is_not_taken_for_idle(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("m", devices=(0,))
        await pressed(node)
        assert node.status("m") == "loaded"

    play(tmp_path, scenario, FakeHarness(reports_in_flight=False))


def test_what_comes_and_goes_is_waited_out(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("m", devices=(0,))
        for used_mb in (950, 950, 100, 950, 950):
            node.probe.uses = {0: {STRANGER: used_mb}}
            await seen(node, 5)
        assert node.status("m") == "loaded"

    play(tmp_path, scenario)


def test_a_request_that_comes_meanwhile_keeps_the_model(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("m", devices=(0,))
        await pressed(node)
        assert node.status("m") == "draining"
        node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        await node.until("m", "loaded")
        assert node.harness.engines[0].stops == 0

    play(tmp_path, scenario)
