"""How an instance goes when it is asked to: called off, drained, stopped, its memory seen free."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import MODEL
from tests.unit.neuron.stage import Stage, play

from cortex.contract.instance import InstanceError
from cortex.neuron.clearing import Clearing
from cortex.neuron.departure import Departure
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.harness.interface import Activity
from cortex.neuron.life import QUIET_POLL_S
from cortex.neuron.refusal import Busy
from cortex.residency.drain import Drain


def test_a_life_goes_up_and_after_an_unload_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        assert stage.instance.status == "loading"
        engine = await stage.loaded()
        assert stage.node.booked() == ([], [MODEL])
        (record,) = stage.node.state.records()
        assert (record.handle, record.nonce, record.need_mb) == (engine.handle, "nonce", 100)
        outcome = stage.life.leave(drain_s=5, force=False)
        assert stage.instance.status == "draining"
        await stage.over()
        assert outcome.result() is None
        assert stage.instance.status == "unloaded"
        assert stage.is_clean()
        assert stage.unloads == [("fake", True)]

    play(tmp_path, scenario)


def test_a_load_is_called_off_before_the_engine_runs(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.start_gate.clear()
        stage.begin()
        await stage.node.let_pass(lambda: bool(stage.harness.launches))
        outcome = stage.life.leave(drain_s=5, force=False)
        assert stage.instance.status == "unloading"
        await stage.over()
        assert outcome.result() is None
        assert stage.instance.status == "unloaded"
        assert stage.harness.engines == []
        assert stage.is_clean()
        assert stage.unloads == [], "what never ran is no cycle"

    play(tmp_path, scenario)


def test_a_load_that_is_called_off_as_it_hears_that_others_stay_has_not_failed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        heard: asyncio.Future[InstanceError | None] = asyncio.get_running_loop().create_future()

        class OthersStay(Clearing):
            async def run(self) -> InstanceError | None:
                return await heard

        departure = Departure(Drain("eviction", 0), stage.node.clock, stage.node.clock.sleep)
        stage.life.clearing = OthersStay(departure, {}, lambda: heard)
        stage.begin()
        for _ in range(3):
            await asyncio.sleep(0)
        heard.set_result(InstanceError(code="busy", message="they stay"))
        await asyncio.sleep(0)
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert (stage.instance.status, stage.instance.error) == ("unloaded", None)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_load_is_called_off_while_the_engine_loads(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.node.let_pass(lambda: stage.instance.engine is not None)
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert stage.instance.status == "unloaded"
        assert stage.engine is not None
        assert stage.engine.stops == 1
        assert stage.is_clean()

    play(tmp_path, scenario)


@pytest.mark.parametrize("turns", range(12))
def test_an_unload_at_any_moment_of_a_start_leaves_no_engine_behind(tmp_path: Path, turns: int) -> None:
    async def scenario(stage: Stage) -> None:
        assert stage.engine is not None
        stage.engine.serves.set()
        stage.begin()
        for _ in range(turns):
            await asyncio.sleep(0)
        outcome = stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert outcome.result() is None
        assert (stage.instance.status, stage.instance.error) == ("unloaded", None)
        assert [engine.stops > 0 for engine in stage.harness.engines] == [True] * len(stage.harness.engines)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_drain_waits_for_requests_and_goes_on_when_they_are_over(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = Activity(in_flight=2, work=1)
        outcome = stage.life.leave(drain_s=5, force=False)
        for _ in range(20):
            await stage.node.clock.step(QUIET_POLL_S)
        assert (stage.instance.status, engine.stops, stage.instance.in_flight) == ("draining", 0, 2)
        engine.activity_now = Activity(in_flight=0, work=9)
        await stage.over()
        assert outcome.result() is None
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_drain_without_force_is_given_up_and_nothing_is_cut(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = Activity(in_flight=2, work=1)
        outcome = stage.life.leave(drain_s=1, force=False)
        await stage.node.let_pass(outcome.done)
        refusal = outcome.result()
        assert isinstance(refusal, Busy)
        assert refusal.details == {"status": "loaded", "in_flight": 2}
        assert "2 requests running" in refusal.message
        assert (stage.instance.status, engine.stops) == ("loaded", 0)
        engine.activity_now = Activity(in_flight=0, work=9)
        again = stage.life.leave(drain_s=1, force=False)
        await stage.over()
        assert again.result() is None

    play(tmp_path, scenario)


@pytest.mark.parametrize("activity", [Activity(in_flight=1, work=1), None], ids=["busy", "silent"])
def test_a_forced_drain_cuts_after_its_time(tmp_path: Path, activity: Activity | None) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = activity
        begin_s = stage.node.clock.now_s()
        outcome = stage.life.leave(drain_s=1, force=True)
        await stage.over()
        assert outcome.result() is None
        assert stage.node.clock.now_s() - begin_s >= 1
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_an_idle_engine_is_unloaded_even_without_any_time_to_drain(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.loaded()
        outcome = stage.life.leave(drain_s=0, force=False)
        await stage.over()
        assert outcome.result() is None

    play(tmp_path, scenario)


def test_a_second_unload_joins_and_with_force_shortens_the_first(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = Activity(in_flight=1, work=1)
        begin_s = stage.node.clock.now_s()
        outcome = stage.life.leave(drain_s=1000, force=False)
        assert stage.life.leave(drain_s=1000, force=False) is outcome
        assert stage.life.leave(drain_s=1, force=True) is outcome
        await stage.over()
        assert outcome.result() is None
        assert stage.node.clock.now_s() - begin_s < 2

    play(tmp_path, scenario)


def test_an_engine_that_cannot_tell_its_requests_is_stopped_at_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = None
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert stage.instance.status == "unloaded"

    play(tmp_path, scenario, reports_in_flight=False)


def test_a_crash_during_a_drain_is_an_unload(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = Activity(in_flight=1, work=1)
        outcome = stage.life.leave(drain_s=1000, force=False)
        await stage.node.clock.until_asleep()
        engine.crash()
        await stage.over()
        assert outcome.result() is None
        assert (stage.instance.status, stage.instance.error) == ("unloaded", None)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_memory_counts_as_taken_until_no_device_sees_the_process(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        stage.node.probe.uses = {0: {engine.handle.pid: 90}}
        outcome = stage.life.leave(drain_s=5, force=False)
        await stage.node.let_pass(lambda: stage.instance.status == "unloading")
        await stage.node.clock.until_asleep()
        assert engine.end.done()
        assert stage.node.booked() == ([], [MODEL])
        assert not outcome.done()
        stage.node.probe.uses = {}
        await stage.over()
        assert stage.is_clean()
        assert stage.unloads == [("fake", True)]

    play(tmp_path, scenario)


@pytest.mark.parametrize(("used_mb", "waits"), [(40, False), (90, True)], ids=["less in use", "as much in use"])
def test_memory_of_processes_that_no_device_tells_is_waited_for_and_no_leak(
    tmp_path: Path, used_mb: int, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(stage: Stage) -> None:
        probe = stage.node.probe
        probe.read = lambda _: (Reading(vram_used_mb=sum(probe.uses.get(0, {}).values())),)  # type: ignore[method-assign]
        stage.begin()
        await stage.loaded()
        probe.uses = {0: {1: 100}}
        await stage.node.sampler.refresh()
        begin_s = stage.node.clock.now_s()
        stage.life.leave(drain_s=0, force=True)
        probe.uses = {0: {1: used_mb}}
        await stage.over()
        assert (stage.node.clock.now_s() - begin_s >= 10) is waits
        assert ("no device tells whether its memory is free again" in caplog.text) is waits
        assert stage.unloads == [("fake", True)]

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("after_mb", "samples"), [([0], 1), ([100, 0], 2), ([100, 100], 2)], ids=["less", "asked too early", "a stranger's"]
)
def test_sample_in_which_the_process_is_gone_and_its_memory_is_not_must_be_followed_by_another(
    tmp_path: Path, after_mb: list[int], samples: int
) -> None:
    async def scenario(stage: Stage) -> None:
        probe = stage.node.probe
        stage.begin()
        engine = await stage.loaded()
        probe.uses = {0: {engine.handle.pid: 100}}
        await stage.node.sampler.refresh()
        told = iter(after_mb)
        seen: list[int] = []

        def read(_: object) -> tuple[Reading, ...]:
            seen.append(next(told, 0))
            return (Reading(vram_used_mb=seen[-1], processes={}),)

        probe.read = read  # type: ignore[method-assign]
        stage.life.leave(drain_s=0, force=True)
        await stage.over()
        assert len(seen) == samples
        assert stage.unloads == [("fake", True)]

    play(tmp_path, scenario)


@pytest.mark.parametrize(("left_mb", "is_back"), [(500, True), (900, False)])
def test_memory_in_a_server_that_stays_must_be_less_by_the_models_part(
    tmp_path: Path, left_mb: int, is_back: bool
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.handle = msgspec.structs.replace(engine.handle, memory_pid=77)
        stage.node.probe.uses = {0: {77: 900}}
        await stage.node.sampler.refresh()
        stage.node.admission.observe()
        outcome = stage.life.leave(drain_s=5, force=False)
        stage.node.probe.uses = {0: {77: left_mb}}
        await stage.over()
        assert await outcome is None
        assert stage.is_clean()
        assert stage.unloads == [("fake", is_back)]

    play(tmp_path, scenario)


def test_memory_that_does_not_come_back_is_told_as_a_leak(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        stage.node.probe.uses = {0: {engine.handle.pid: 90}}
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert stage.instance.status == "unloaded"
        assert stage.instance.error is not None
        assert stage.instance.error.code == "memory_kept"
        assert stage.unloads == [("fake", False)]

    play(tmp_path, scenario)


def test_an_engine_that_does_not_end_keeps_its_memory_and_says_so(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.is_stubborn = True
        outcome = stage.life.leave(drain_s=5, force=False)
        await stage.node.let_pass(outcome.done)
        refusal = outcome.result()
        assert isinstance(refusal, Busy)
        assert f"process {engine.handle.pid} does not end" in refusal.message
        assert (stage.instance.status, stage.node.booked()) == ("failed", ([], [MODEL]))
        assert stage.life.leave(drain_s=5, force=True).result() is refusal
        engine.crash()
        await stage.over()
        assert stage.is_clean()

    play(tmp_path, scenario)
