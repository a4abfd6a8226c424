"""Loads that have to wait for memory: how long, in what order, and that it comes to an end."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeEngine, FakeNode, a_request
from tests.unit.neuron.swap import evicting, in_flight, outcome, play, settled

from cortex.contract.instance import LoadAnswer, UnloadRequest
from cortex.neuron.refusal import Busy, Held


def test_a_model_that_was_just_loaded_is_held_for_as_long_as_is_said(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("v", vram_mb=600, min_residency_s=30)
        refusal = await outcome(node, evicting(node, "v"))
        assert isinstance(refusal, Held)
        retry_in_s = refusal.details["retry_in_s"]
        assert isinstance(retry_in_s, float)
        assert 29 < retry_in_s <= 30
        (report,) = node.supervisor.reports()
        assert report.protected_s == retry_in_s
        node.clock.advance(retry_in_s)
        assert isinstance(await outcome(node, evicting(node, "v")), LoadAnswer)

    play(tmp_path, scenario)


def test_a_model_is_held_for_twice_as_long_as_it_took_to_load(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.starts.append(engine := FakeEngine())
        await node.supervisor.load(a_request("v", vram_mb=600))
        await node.let_pass(lambda: bool(node.harness.engines))
        await node.clock.until_asleep()
        node.clock.advance(20)
        engine.serves.set()
        await node.until("v", "loaded")
        refusal = await outcome(node, evicting(node, "v"))
        assert isinstance(refusal, Held)
        assert 39 < float(str(refusal.details["retry_in_s"])) < 42

    play(tmp_path, scenario)


async def waited(node: FakeNode, *victims: str) -> None:
    """Ask for a load again and again, as it is told to, until it is due."""
    due_s = node.clock.now_s() + 60
    while node.clock.now_s() < due_s:
        refusal = await outcome(node, evicting(node, *victims))
        assert isinstance(refusal, Busy)
        node.clock.advance(float(str(refusal.details["retry_in_s"])))


def test_against_endless_traffic_a_load_is_served_after_the_longest_wait_and_nothing_is_cut(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 3)
        await waited(node, "v")
        assert (await outcome(node, evicting(node, "v"))) == LoadAnswer(status="loading", generation=2)
        assert (node.status(), node.status("v")) == ("loading", "draining"), "no gateway sends to the victim now"
        for _ in range(100):
            await node.clock.step(1)
        assert node.harness.engines[0].stops == 0
        in_flight(node, 0)
        await node.until(MODEL, "loaded")
        assert node.status("v") == "unloaded"

    play(tmp_path, scenario)


def test_a_load_that_is_due_can_be_called_off_and_the_victim_serves_on(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 3)
        await waited(node, "v")
        await outcome(node, evicting(node, "v"))
        await node.clock.until_asleep()
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        await node.until("v", "loaded")
        assert (node.status(), node.booked()) == ("unloaded", ([], ["v"]))

    play(tmp_path, scenario)


def test_a_load_that_is_due_fails_when_an_engine_says_nothing_for_too_long(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 3)
        await waited(node, "v")
        await outcome(node, evicting(node, "v"))
        node.harness.engines[0].activity_now = None
        await node.until(MODEL, "failed")
        report = next(report for report in node.supervisor.reports() if report.id == MODEL)
        assert report.error is not None
        assert report.error.code == "busy"
        await node.until("v", "loaded")
        in_flight(node, 0)
        for _ in range(2):  # it was nobody's fault
            await outcome(node, evicting(node, "v"))
        await node.until(MODEL, "loaded")

    play(tmp_path, scenario)


def test_the_younger_of_two_loads_waits_until_the_older_is_served(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 1)
        assert isinstance(await outcome(node, evicting(node, "v", model_id="old")), Busy)
        in_flight(node, 0)
        refusal = await outcome(node, evicting(node, "v", model_id="young"))
        assert isinstance(refusal, Held)
        assert refusal.details["reason"] == "waits_its_turn"
        assert isinstance(await outcome(node, evicting(node, "v", model_id="old")), LoadAnswer)

    play(tmp_path, scenario)


@pytest.mark.parametrize("force", [False, True], ids=["when idle", "by force"])
def test_an_operators_unload_of_a_victim_is_as_good_as_its_eviction(tmp_path: Path, force: bool) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 1)
        await waited(node, "v")
        await outcome(node, evicting(node, "v"))
        await node.clock.until_asleep()
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id="v", force=force)))
        await node.clock.until_asleep()
        if not force:
            in_flight(node, 0)
        await node.let_pass(unloading.done)
        assert unloading.result().status == "unloaded"
        await node.until(MODEL, "loaded")

    play(tmp_path, scenario)


def test_a_victim_that_stays_though_an_operator_unloads_it_fails_the_load(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 1)
        await waited(node, "v")
        await outcome(node, evicting(node, "v"))
        await node.clock.until_asleep()
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id="v")))
        await node.let_pass(unloading.done)
        assert isinstance(unloading.exception(), Busy)
        await node.until(MODEL, "failed")
        assert node.status("v") == "loaded"
        await node.let_pass(lambda: node.booked() == ([], ["v"]))

    play(tmp_path, scenario)
