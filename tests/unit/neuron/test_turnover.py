"""Loads that take their memory from others: all of it or nothing, and nothing is ever cut for it."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import LIMITS, MODEL, FakeEngine, FakeNode, FakeProbe, a_request
from tests.unit.neuron.swap import evicting, history, in_flight, outcome, play, settled

from cortex.contract.error import CortexError, ShuttingDown
from cortex.contract.instance import LoadAnswer, LoadRequest, PinRequest, UnloadRequest, Victim
from cortex.contract.node import RestartRequest
from cortex.neuron.harness.interface import Activity
from cortex.neuron.refusal import Busy, NoRoom, Stale
from cortex.neuron.turnover import FRESH_S


def test_the_victim_goes_its_memory_is_seen_free_and_then_the_load_begins(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        victim = node.harness.engines[0]
        node.probe.uses = {0: {victim.handle.pid: 600}}
        changes = history(node)
        answer = await outcome(node, evicting(node, "v"))
        assert answer == LoadAnswer(status="loading", generation=2)
        await node.let_pass(lambda: victim.stops == 1 and node.status("v") == "unloading")
        await node.clock.until_asleep()
        assert len(node.harness.launches) == 1, "its memory is still in use"
        node.probe.uses = {}
        await node.until(MODEL, "loaded")
        assert changes == [
            ("v", "draining"),
            (MODEL, "loading"),
            ("v", "unloading"),
            ("v", "unloaded"),
            (MODEL, "loaded"),
        ]
        assert node.booked() == ([], [MODEL])
        assert node.supervisor.health()[0].cycles == 1

    play(tmp_path, scenario)


def test_a_load_that_fits_evicts_nobody(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        await outcome(node, evicting(node, "v", vram_mb=400))
        await node.until(MODEL, "loaded")
        assert node.status("v") == "loaded"

    play(tmp_path, scenario)


def test_a_second_load_joins_while_the_victims_of_the_first_are_drained(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        first, second = evicting(node, "v"), evicting(node, "v")
        assert await outcome(node, first) == await outcome(node, second) == LoadAnswer(status="loading", generation=2)
        await node.until(MODEL, "loaded")
        assert len(node.harness.launches) == 2

    play(tmp_path, scenario)


def test_victims_in_another_generation_are_stale_and_nothing_happens(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        changes = history(node)
        call = node.supervisor.load(a_request(vram_mb=900, evict=(Victim(model_id="v", generation=7),)))
        refusal = await outcome(node, asyncio.create_task(call))
        assert isinstance(refusal, Stale)
        assert refusal.details == {"reason": "victim_gone", "model_id": "v"}
        assert (changes, node.booked()) == ([], ([], ["v"]))

    play(tmp_path, scenario)


def test_a_plan_by_an_old_picture_of_its_devices_is_stale(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        basis = node.events.event
        await settled(node, "v")
        refusal = await outcome(node, evicting(node, "v", basis_event=basis))
        assert isinstance(refusal, Stale)
        assert refusal.details == {"reason": "basis"}
        answer = await outcome(node, evicting(node, "v", basis_event=node.events.event))
        assert isinstance(answer, LoadAnswer)

    play(tmp_path, scenario)


def test_a_plan_by_what_an_earlier_life_told_is_stale_whatever_its_number(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        now = node.events.event
        refusal = await outcome(node, evicting(node, "v", basis_event=now, basis_start_id="start-0"))
        assert isinstance(refusal, Stale)
        assert refusal.details == {"reason": "basis"}
        answer = await outcome(node, evicting(node, "v", basis_event=now, basis_start_id="start-1"))
        assert isinstance(answer, LoadAnswer)

    play(tmp_path, scenario)


def test_a_load_that_would_fit_when_a_drain_is_over_is_told_to_ask_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id="v")))
        await node.until("v", "draining")
        refusal = await outcome(node, evicting(node, model_id="next", vram_mb=900))
        assert isinstance(refusal, NoRoom)
        assert refusal.details["retry_in_s"] == 2.0
        assert "ask again in 2.0 s" in refusal.message
        node.holders.deaf.clear()
        await node.let_pass(unloading.done)
        assert isinstance(await outcome(node, evicting(node, model_id="next", vram_mb=900)), LoadAnswer)

    play(tmp_path, scenario)


def test_a_change_on_other_devices_leaves_the_plan_good(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v", devices=(0,))
        basis = node.events.event
        await node.load("other", devices=(1,))
        answer = await outcome(node, evicting(node, "v", devices=(0,), basis_event=basis))
        assert isinstance(answer, LoadAnswer)

    play(tmp_path, scenario, probe=FakeProbe((1000, 1000)))


def test_a_victim_that_is_known_to_be_busy_is_not_even_drained(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        in_flight(node, 2)
        changes = history(node)
        refusal = await outcome(node, evicting(node, "v"))
        assert isinstance(refusal, Busy)
        assert refusal.details == {"reason": "victim_busy", "model_id": "v", "retry_in_s": 2.0}
        assert (changes, node.booked(), node.state.records()[1:]) == ([], ([], ["v"]), ())

    play(tmp_path, scenario)


@pytest.mark.parametrize("who", ["engine", "holder"])
def test_a_request_that_comes_during_the_drain_keeps_the_victim(tmp_path: Path, who: str) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        changes = history(node)
        loading = evicting(node, "v")
        await node.until("v", "draining")
        if who == "engine":
            in_flight(node, 1)
        else:
            node.holders.counts["v"] = 1
        refusal = await outcome(node, loading)
        assert isinstance(refusal, Busy)
        assert refusal.details["reason"] == "victims_stayed"
        await node.until("v", "loaded")
        assert changes == [("v", "draining"), ("v", "loaded")], "the load was never seen"
        assert (node.harness.engines[0].stops, node.booked()) == (0, ([], ["v"]))
        assert [record.model_id for record in node.state.records()] == ["v"]

    play(tmp_path, scenario)


def test_a_victim_that_is_pinned_during_the_drain_stays(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        node.supervisor.pin(PinRequest(model_id="v", pinned=True))
        node.holders.deaf.clear()
        assert isinstance(await outcome(node, loading), Busy)
        await node.until("v", "loaded")
        assert node.harness.engines[0].stops == 0

    play(tmp_path, scenario)


def test_a_gateway_that_does_not_let_go_keeps_the_victim_for_the_time_of_grace(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        begin_s = node.clock.now_s()
        refusal = await outcome(node, evicting(node, "v"))
        assert isinstance(refusal, Busy)
        assert 2 <= node.clock.now_s() - begin_s < 2.5
        await node.until("v", "loaded")
        node.holders.deaf.clear()
        assert isinstance(await outcome(node, evicting(node, "v")), LoadAnswer)

    play(tmp_path, scenario)


def test_of_two_victims_none_goes_when_one_has_to_stay(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "a", "b", vram_mb=450)
        loading = evicting(node, "a", "b", vram_mb=1000)
        await node.until("b", "draining")
        in_flight(node, 1, engine=1)
        assert isinstance(await outcome(node, loading), Busy)
        await node.let_pass(lambda: node.status("a") == node.status("b") == "loaded")
        assert [engine.stops for engine in node.harness.engines] == [0, 0]
        in_flight(node, 0, engine=1)
        assert isinstance(await outcome(node, evicting(node, "a", "b", vram_mb=1000)), LoadAnswer)
        await node.until(MODEL, "loaded")
        assert node.booked() == ([], [MODEL])

    play(tmp_path, scenario)


def test_two_loads_do_not_take_the_same_victim(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v", vram_mb=900)
        node.holders.deaf.add("v")
        first = evicting(node, "v", model_id="first", vram_mb=200)
        await node.until("v", "draining")
        for vram_mb, code in ((900, NoRoom), (800, Busy)):
            refusal = await outcome(node, evicting(node, "v", model_id="second", vram_mb=vram_mb))
            assert isinstance(refusal, code)
        assert refusal.details["reason"] == "victim_draining"
        node.holders.deaf.clear()
        assert isinstance(await outcome(node, first), LoadAnswer)

    play(tmp_path, scenario, limits=LIMITS._replace(grace_s=60))


def test_a_victim_that_crashes_has_made_room_as_well(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        node.harness.engines[0].crash()
        assert isinstance(await outcome(node, loading), LoadAnswer)
        await node.until(MODEL, "loaded")
        assert node.status("v") == "unloaded"

    play(tmp_path, scenario)


def test_a_victim_whose_process_does_not_end_fails_the_load(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.harness.engines[0].is_stubborn = True
        await outcome(node, evicting(node, "v"))
        await node.until(MODEL, "failed")
        report = next(report for report in node.supervisor.reports() if report.id == MODEL)
        assert report.error is not None
        assert "does not end" in report.error.message
        await node.let_pass(lambda: node.booked() == ([], ["v"]))

    play(tmp_path, scenario)


def test_memory_that_strangers_take_meanwhile_fails_the_load_and_is_not_its_fault(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        for _ in range(2):
            node.probe.uses = {}
            node.clock.advance(2)
            await settled(node, "v")
            await outcome(node, evicting(node, "v"))
            node.probe.uses = {0: {1: 500}}
            await node.until(MODEL, "failed")
            report = next(report for report in node.supervisor.reports() if report.id == MODEL)
            assert report.error is not None
            assert report.error.code == "no_room"
            await node.let_pass(lambda: node.booked() == ([], []))
        node.probe.uses = {}
        node.clock.advance(2)
        await node.load(vram_mb=900)
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_with_a_full_disk_nobody_is_evicted(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        changes = history(node)
        (node.state.path / ".generation.new").mkdir()
        refusal = await outcome(node, evicting(node, "v"))
        assert isinstance(refusal, CortexError)
        assert "state directory cannot be written" in refusal.message
        assert (changes, node.booked()) == ([], ([], ["v"]))

    play(tmp_path, scenario)


def test_a_caller_that_leaves_during_the_drain_takes_its_load_with_it(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        loading.cancel()
        await node.until("v", "loaded")
        assert (loading.cancelled(), node.booked()) == (True, ([], ["v"]))

    play(tmp_path, scenario)


def test_a_neuron_that_stops_during_the_drain_evicts_nobody(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        stopping = asyncio.create_task(node.supervisor.stop(keep_engines=True))
        refusal = await outcome(node, loading)
        assert isinstance(refusal, ShuttingDown)
        await stopping
        assert node.harness.engines[0].is_let_go
        assert node.harness.engines[0].stops == 0

    play(tmp_path, scenario)


def test_no_room_tells_what_could_really_be_evicted(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "idle", "busy", vram_mb=200)
        await node.load("pinned", vram_mb=200, pinned=True)
        await node.load("fresh", vram_mb=200, min_residency_s=100)
        node.harness.engines[1].activity_now = Activity(in_flight=1, work=9)
        node.harness.starts.append(FakeEngine())
        await node.supervisor.load(a_request("loading", vram_mb=200))
        refusal = await outcome(node, asyncio.create_task(node.supervisor.load(a_request(vram_mb=500))))
        assert isinstance(refusal, NoRoom)
        assert refusal.details["devices"] == [
            {"index": 0, "need_mb": 500, "free_mb": 0, "missing_mb": 500, "evictable_mb": 200, "total_mb": 1000}
        ]

    play(tmp_path, scenario)


def test_victims_are_named_once_and_not_again_by_a_later_load_of_the_same(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        await outcome(node, evicting(node, "v", steward=3, basis_start_id="start-1"))
        await node.until(MODEL, "loaded")
        request = node.harness.launches[1].request
        assert (request.evict, request.basis_event, request.basis_start_id, request.steward) == ((), None, None, None)
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        await settled(node, "v", vram_mb=100)
        bare = asyncio.create_task(node.supervisor.load(LoadRequest(model_id=MODEL, harness="fake")))
        assert isinstance(await outcome(node, bare), LoadAnswer)
        assert node.status("v") == "loaded"

    play(tmp_path, scenario)


def test_a_load_that_names_no_device_goes_where_its_victims_are(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "stays", vram_mb=900, devices=(0,))
        await settled(node, "v", vram_mb=950, devices=(1,))
        await outcome(node, evicting(node, "v"))
        await node.until(MODEL, "loaded")
        assert (node.status("stays"), node.status("v")) == ("loaded", "unloaded")

    play(tmp_path, scenario, probe=FakeProbe((1000, 1000)))


def test_a_harness_that_is_being_restarted_evicts_nobody(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        restarting = asyncio.create_task(node.supervisor.restart("fake", RestartRequest()))
        refusal = await outcome(node, loading)
        assert isinstance(refusal, Busy)
        assert "is being restarted" in refusal.message
        node.holders.deaf.clear()
        await node.let_pass(restarting.done)
        assert node.booked() == ([], [])

    play(tmp_path, scenario)


def test_strangers_that_have_come_since_the_last_sample_count(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("first", vram_mb=100)
        node.clock.advance(FRESH_S + 0.1)
        node.probe.uses = {0: {666: 700}}
        answer = await outcome(node, evicting(node, vram_mb=500))
        assert isinstance(answer, NoRoom)
        assert len(node.harness.launches) == 1, "no engine was started in vain"

    play(tmp_path, scenario)
