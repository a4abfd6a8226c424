"""Loads that fail again and again are refused for a while, with the time and the reason."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import CRASH, MODEL, FakeNode, a_node, a_request

from cortex.contract.instance import UnloadRequest, Victim
from cortex.neuron.refusal import Held


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_node(tmp_path) as node:
            await scenario(node)

    asyncio.run(run())


async def failed_twice(node: FakeNode) -> None:
    node.harness.starts += [CRASH, CRASH]
    for _ in range(2):
        await node.load()
        assert node.status() == "failed"
        await node.let_pass(lambda: node.booked() == ([], []) and not node.supervisor._lives)


def test_after_the_second_failure_a_load_is_held_with_the_time_and_the_reason(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await failed_twice(node)
        victims = (Victim(model_id="x", generation=1),)
        with pytest.raises(Held, match=r"failed 2 times in a row .* engine ended with code 1") as held:
            await node.supervisor.load(a_request(evict=victims, basis_event=7))
        assert 0 < held.value.details["retry_in_s"] <= 5  # type: ignore[operator]
        node.clock.advance(5)
        await node.load()
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_a_load_that_wants_something_else_is_tried_at_once(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await failed_twice(node)
        node.harness.starts.append(CRASH)
        await node.load(quant="Q8_0")
        await node.let_pass(lambda: not node.supervisor._lives)
        await node.load(quant="Q8_0")
        assert node.status() == "loaded", "the row of the other load does not count for this one"

    play(tmp_path, scenario)


def test_an_unload_puts_the_failures_away(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await failed_twice(node)
        await node.supervisor.unload(UnloadRequest(model_id=MODEL))
        await node.load()
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_an_engine_that_served_for_long_is_loaded_again_at_once(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.starts.append(CRASH)
        await node.load()
        await node.let_pass(lambda: not node.supervisor._lives)
        await node.load()
        node.clock.advance(601)
        node.harness.engines[0].crash()
        await node.let_pass(lambda: not node.supervisor._lives)
        await node.load()
        assert node.status() == "loaded"

    play(tmp_path, scenario)
