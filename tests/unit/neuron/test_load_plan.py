"""Which devices a load gets, how its need is found out, and what its engine is started with."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, FakeProbe, a_node, a_request

from cortex.neuron.harness.interface import Prepared
from cortex.neuron.load_plan import FRESH_S, LoadPlanner
from cortex.neuron.refusal import NoSuchDevice
from cortex.neuron.state_dir import Record

PREPARED = Prepared(need_mb=100, is_estimate=False, parallel=2)
Scenario = Callable[[LoadPlanner, FakeNode], Awaitable[None]]


def play(
    tmp_path: Path, scenario: Scenario, harness: FakeHarness | None = None, probe: FakeProbe | None = None
) -> None:
    async def run() -> None:
        async with a_node(tmp_path, harness or FakeHarness(), probe=probe or FakeProbe((1000, 1000))) as node:
            await scenario(LoadPlanner(node.inventory.devices, node.admission, node.sampler, node.state), node)

    asyncio.run(run())


def test_named_devices_are_taken_in_their_order(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        assert await planner.prepare(a_request(devices=(1, 0)), node.harness) == (
            (1, 0),
            Prepared(need_mb=100, is_estimate=False, parallel=4),
        )

    play(tmp_path, scenario)


def test_a_harness_that_needs_no_device_gets_none(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        assert (await planner.prepare(a_request(devices=(1, 0)), node.harness))[0] == ()

    play(tmp_path, scenario, FakeHarness(device_kinds=()))


def test_a_node_without_a_suitable_device_says_so(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        with pytest.raises(NoSuchDevice, match="this node has no device that harness 'fake' can use"):
            await planner.prepare(a_request(), node.harness)

    play(tmp_path, scenario, FakeHarness(device_kinds=("rocm",)))


def test_strangers_that_came_after_the_last_sample_are_seen(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        node.probe.uses = {0: {1: 900}}
        assert (await planner.prepare(a_request(), node.harness))[0] == (0,), "the sample is fresh enough"
        node.clock.advance(FRESH_S + 0.1)
        assert (await planner.prepare(a_request(), node.harness))[0] == (1,)

    play(tmp_path, scenario)


def test_every_launch_is_a_generation_of_its_own_with_its_own_fence_and_log(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        one, two = (planner.launch(a_request(), PREPARED, (1,)) for _ in range(2))
        assert (one.generation, two.generation) == (1, 2)
        assert one.nonce != two.nonce
        assert len(one.nonce) == 32
        assert (one.log, two.log) == (node.state.log_path(MODEL, 1), node.state.log_path(MODEL, 2))
        assert ([device.index for device in one.devices], one.ordinals, one.free_mb) == ([1], (1,), (1000,))

    play(tmp_path, scenario)


def test_a_relaunch_keeps_its_generation_and_fence_and_drops_devices_that_are_gone(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        record = Record(
            model_id=MODEL,
            harness="fake",
            generation=17,
            nonce="kept",
            devices=(1, 5),
            need_mb=100,
            is_estimate=False,
            parallel=2,
            request=a_request(),
        )
        launch = planner.relaunch(record, PREPARED)
        assert (launch.generation, launch.nonce, launch.log) == (17, "kept", node.state.log_path(MODEL, 17))
        assert [device.index for device in launch.devices] == [1]

    play(tmp_path, scenario)


def with_uuids(*uuids: str) -> FakeProbe:
    probe = FakeProbe([1000] * len(uuids))
    probe.devices = tuple(
        msgspec.structs.replace(device, uuid=uuid or None) for device, uuid in zip(probe.devices, uuids, strict=True)
    )
    return probe


@pytest.mark.parametrize(
    ("recorded", "uuids", "now", "expected"),
    [
        ((0, 1), ("GPU-a", "GPU-b"), ("GPU-a", "GPU-b"), [0, 1]),
        ((0, 1), ("GPU-a", "GPU-b"), ("GPU-new", "GPU-a", "GPU-b"), [1, 2]),
        ((0, 1), ("GPU-a", "GPU-b"), ("GPU-b",), [0]),
        ((0, 1), ("GPU-a", "GPU-b"), ("GPU-a",), [0, 1]),
        ((0,), ("GPU-a",), ("GPU-b",), []),
        ((1,), ("",), ("GPU-b", ""), [1]),
        ((0,), ("",), ("GPU-b",), []),
        ((0, 7), (), ("GPU-a",), [0]),
    ],
    ids=[
        "as it was",
        "one was put in before them",
        "one is gone, and its number is another's",
        "one is not shown, and its number nobody's",
        "another one has its number",
        "one without a UUID",
        "one with a UUID has its number",
        "a record of an older neuron",
    ],
)
def test_a_record_means_the_same_devices_whatever_their_numbers_are_now(
    tmp_path: Path, recorded: tuple[int, ...], uuids: tuple[str, ...], now: tuple[str, ...], expected: list[int]
) -> None:
    async def scenario(planner: LoadPlanner, _: FakeNode) -> None:
        record = Record(
            model_id=MODEL,
            harness="fake",
            generation=3,
            nonce="n",
            devices=recorded,
            device_uuids=uuids,
            need_mb=1,
            is_estimate=False,
            parallel=1,
            request=a_request(),
        )
        assert [device.index for device in planner.relaunch(record, PREPARED).devices] == expected

    play(tmp_path, scenario, probe=with_uuids(*now))


def test_a_load_is_planned_anew_when_devices_have_changed_meanwhile(tmp_path: Path) -> None:
    async def scenario(planner: LoadPlanner, node: FakeNode) -> None:
        node.harness.prepare_gate.clear()
        planning = asyncio.create_task(planner.prepare(a_request(), node.harness))
        await node.harness.is_preparing.wait()
        planner.renew(node.inventory.devices[1:])
        node.admission.renew(node.inventory.devices[1:])
        node.harness.prepare_gate.set()
        devices, _ = await planning
        assert devices == (1,)

    play(tmp_path, scenario)
