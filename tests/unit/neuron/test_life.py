"""How an instance comes up, serves and is lost, and what of it outlives the neuron."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import CRASH, MODEL, PORT_TAKEN, FakeEngine
from tests.unit.neuron.stage import Stage, play

from cortex.contract.error import ShuttingDown
from cortex.neuron import life
from cortex.neuron.harness.interface import Activity
from cortex.neuron.refusal import HarnessUnusable


def test_memory_is_reserved_until_the_engine_runs_and_held_while_it_does(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.start_gate.clear()
        stage.begin()
        await stage.node.let_pass(lambda: bool(stage.harness.launches))
        assert stage.node.booked() == ([MODEL], [])
        stage.harness.start_gate.set()
        await stage.loaded()
        assert stage.node.booked() == ([], [MODEL])

    play(tmp_path, scenario)


def test_an_engine_that_ends_while_loading_has_failed_with_its_words(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        assert stage.engine is not None
        stage.engine.crash()
        await stage.over()
        assert (stage.instance.status, stage.instance.error) == ("failed", CRASH.error)
        assert stage.is_clean()
        assert stage.unloads == []

    play(tmp_path, scenario)


def test_an_engine_that_is_lost_while_serving_has_failed_with_its_words(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        (await stage.loaded()).crash()
        await stage.over()
        assert (stage.instance.status, stage.instance.error) == ("failed", CRASH.error)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_an_engine_that_never_started_has_failed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.starts = [CRASH]
        stage.begin()
        await stage.over()
        assert (stage.instance.status, stage.instance.error) == ("failed", CRASH.error)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_harness_that_refuses_to_start_has_its_words_shown(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.refusal = HarnessUnusable("not on this node")
        stage.begin()
        await stage.over()
        assert stage.instance.status == "failed"
        assert stage.instance.error is not None
        assert (stage.instance.error.code, stage.instance.error.message) == ("harness_unusable", "not on this node")
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_taken_port_is_tried_again_on_another(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.starts = [PORT_TAKEN, PORT_TAKEN, *stage.harness.starts]
        stage.begin()
        await stage.loaded()
        assert len(stage.harness.launches) == 3

    play(tmp_path, scenario)


def test_ports_that_are_always_taken_end_in_failure(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.harness.starts = [PORT_TAKEN] * life.PORT_TRIES
        stage.begin()
        await stage.over()
        assert (stage.instance.status, stage.instance.error) == ("failed", PORT_TAKEN.error)
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_an_engine_that_is_not_ready_in_time_is_stopped_and_has_failed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.over()
        assert stage.instance.status == "failed"
        assert stage.instance.error is not None
        assert stage.instance.error.code == "load_timeout"
        assert stage.engine is not None
        assert stage.engine.stops == 1
        assert stage.is_clean()

    play(tmp_path, scenario, load_timeout_s=0.01)


def test_a_load_that_gets_on_has_more_time(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        begin_s = stage.node.clock.now_s()
        for line in range(3):
            await stage.node.let_pass(lambda line=line: stage.node.clock.now_s() > begin_s + 6 * line)
            with stage.launch.log.open("a") as log:
                log.write("another layer\n")
        await stage.over()
        assert stage.instance.error is not None
        assert stage.instance.error.code == "load_timeout"
        assert stage.node.clock.now_s() - begin_s > 20

    play(tmp_path, scenario, load_timeout_s=8)


def test_how_long_a_load_took_is_known_of_those_that_were_seen(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.node.let_pass(lambda: stage.instance.engine is not None)
        stage.node.clock.advance(3)
        await stage.loaded()
        assert stage.instance.load_s is not None
        assert 3 <= stage.instance.load_s < 4

    play(tmp_path, scenario)


def test_cancelled_it_leaves_the_engine_alone_and_its_record_behind(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = Activity(in_flight=1, work=1)
        outcome = stage.life.leave(drain_s=1000, force=False)
        await stage.node.clock.until_asleep()
        stage.task.cancel()
        await asyncio.wait((stage.task,))
        assert stage.task.cancelled()
        assert (engine.is_let_go, engine.stops) == (True, 0)
        assert [record.handle for record in stage.node.state.records()] == [engine.handle]
        assert isinstance(outcome.result(), ShuttingDown)
        assert stage.life.ended.is_set()

    play(tmp_path, scenario)


def test_an_engine_found_running_is_gone_on_with_and_not_started(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        found = FakeEngine(pid=77)
        found.serves.set()
        stage.begin(found)
        await stage.until("loaded")
        assert stage.life.decided.is_set()
        assert stage.harness.launches == []
        assert [record.handle.pid for record in stage.node.state.records()] == [77]
        found.crash()
        await stage.over()
        assert stage.instance.status == "failed"
        assert stage.is_clean()

    play(tmp_path, scenario, with_engine=False)


def test_a_defect_of_ours_stops_the_engine_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()

        async def defect() -> Activity:
            raise RuntimeError("oh no")

        engine.activity = defect  # type: ignore[method-assign]
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert stage.instance.status == "failed"
        assert stage.instance.error is not None
        assert stage.instance.error.message == "RuntimeError: oh no"
        assert engine.stops == 1
        assert stage.is_clean()

    play(tmp_path, scenario)
    assert "the supervision failed" in caplog.text


def test_a_record_that_cannot_be_written_stops_the_engine(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        folder = stage.node.state.path / "engine"
        folder.rmdir()
        stage.begin()
        await stage.over()
        assert stage.instance.status == "failed"
        assert stage.instance.error is not None
        assert "No such file" in stage.instance.error.message
        assert stage.engine is not None
        assert stage.engine.stops == 1
        folder.mkdir()
        assert stage.is_clean()

    play(tmp_path, scenario)


def test_a_full_disk_is_no_reason_to_stop_an_engine_that_was_found_running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(stage: Stage) -> None:
        folder = stage.node.state.path / "engine"
        folder.rmdir()
        found = FakeEngine(pid=77)
        found.serves.set()
        stage.begin(found)
        await stage.until("loaded")
        assert found.stops == 0
        folder.mkdir()

    play(tmp_path, scenario, with_engine=False)
    assert "cannot be written anew" in caplog.text


def test_looking_notes_requests_and_when_it_was_last_seen_working(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        clock, begin_s = stage.node.clock, stage.node.clock.now_s()
        seen = []
        for activity in (Activity(in_flight=3, work=0), Activity(in_flight=0, work=5), Activity(in_flight=0, work=5)):
            clock.advance(10)
            engine.activity_now = activity
            await stage.life.look()
            seen.append((stage.instance.in_flight, (stage.instance.active_s or 0) - begin_s))
        engine.activity_now = None
        await stage.life.look()
        assert seen == [(3, 10), (0, 20), (0, 20)]

    play(tmp_path, scenario)


def test_an_engine_that_answers_no_more_is_told_of_until_it_does(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        clock = stage.node.clock
        seen, events = [], []
        for activity in (Activity(in_flight=1, work=0), None, None, None, None, Activity(in_flight=1, work=0)):
            clock.advance(5)
            engine.activity_now = activity
            before = stage.node.events.event
            await stage.life.look()
            seen.append(stage.instance.report(clock.now_s()).silent_s)
            events.append(stage.node.events.event - before)
        assert seen == [None, None, None, 15.0, 20.0, None]
        assert events == [0, 0, 0, 1, 0, 1]

    play(tmp_path, scenario)


def test_an_engine_that_says_nothing_of_its_work_is_not_called_silent(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        engine.activity_now = None
        stage.node.clock.advance(100)
        await stage.life.look()
        assert stage.instance.report(stage.node.clock.now_s()).silent_s is None

    play(tmp_path, scenario, reports_in_flight=False)


def test_looking_at_what_does_not_serve_asks_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.node.let_pass(lambda: stage.instance.engine is not None)
        assert stage.engine is not None
        stage.engine.activity_now = Activity(in_flight=3, work=0)
        await stage.life.look()
        assert stage.instance.in_flight == 0

    play(tmp_path, scenario)
