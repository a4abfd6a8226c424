"""One life of an instance, with an engine that does what the test says: the ways up, the ways down, their crossings."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import (
    CRASH,
    MODEL,
    PORT_TAKEN,
    FakeEngine,
    FakeHarness,
    FakeNode,
    a_node,
    a_request,
)

from cortex.contract.error import ShuttingDown
from cortex.neuron import life
from cortex.neuron.harness.interface import Activity, Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.life import QUIET_POLL_S, Life
from cortex.neuron.refusal import Busy, HarnessUnusable


class Stage:
    """A node, one life on it with 100 MiB reserved, and what was told of unloads."""

    def __init__(self, node: FakeNode, engine: FakeEngine | None) -> None:
        self.node = node
        self.harness = node.harness
        self.engine = engine
        self.unloads: list[tuple[str, bool]] = []
        self.instance = Instance(MODEL)
        node.instances[MODEL] = self.instance
        self.launch = Launch(
            request=a_request(),
            prepared=Prepared(need_mb=100, is_estimate=False, parallel=4),
            generation=node.state.next_generation(),
            nonce="nonce",
            devices=node.inventory.devices[:1],
            ordinals=(0,),
            log=node.state.log_path(MODEL, 1),
        )
        support = node.support._replace(unloaded=lambda *what: self.unloads.append(what))
        self.life = Life(self.instance, node.harness, self.launch, support)
        self.statuses: list[str] = []
        self.task: asyncio.Task[None]

    def begin(self, found: FakeEngine | None = None) -> None:
        if found is None:
            self.node.admission.admit(MODEL, 100, (0,))
        else:
            self.node.admission.book.adopt(MODEL, 100, (0,))
        self.instance.begin(self.harness, self.launch)
        self.task = asyncio.create_task(self.life.run(found))

    async def loaded(self) -> FakeEngine:
        """Go on until the engine serves."""
        assert self.engine is not None
        self.engine.serves.set()
        await self.until("loaded")
        return self.engine

    async def until(self, status: str) -> None:
        while self.instance.status != status:
            assert not self.task.done(), self.instance.status
            await asyncio.sleep(0)

    async def over(self) -> None:
        """Let time pass until the life has ended."""
        await self.node.let_pass(self.task.done)
        await self.task

    def is_clean(self) -> bool:
        """Tell whether nothing is left: no memory, no record, no engine."""
        return (
            self.node.booked() == ([], [])
            and self.node.state.records() == ()
            and self.instance.engine is None
            and self.life.ended.is_set()
        )


Scenario = Callable[[Stage], Awaitable[None]]


def play(tmp_path: Path, scenario: Scenario, *, with_engine: bool = True, **more: object) -> None:
    async def run() -> None:
        async with a_stage(tmp_path, with_engine=with_engine, **more) as stage:
            await scenario(stage)

    asyncio.run(run())


@asynccontextmanager
async def a_stage(tmp_path: Path, *, with_engine: bool = True, **more: object) -> AsyncIterator[Stage]:
    harness = FakeHarness(reports_in_flight=bool(more.pop("reports_in_flight", True)))
    async with a_node(tmp_path, harness, **more) as node:
        engine = FakeEngine() if with_engine else None
        if engine is not None:
            harness.starts.append(engine)
        stage = Stage(node, engine)
        yield stage
        if not stage.task.done():
            stage.task.cancel()
            await asyncio.wait((stage.task,))


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


def test_memory_that_does_not_come_back_is_told_as_a_leak(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        engine = await stage.loaded()
        stage.node.probe.uses = {0: {engine.handle.pid: 90}}
        stage.life.leave(drain_s=5, force=False)
        await stage.over()
        assert stage.instance.status == "unloaded"
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


def test_looking_at_what_does_not_serve_asks_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.begin()
        await stage.node.let_pass(lambda: stage.instance.engine is not None)
        assert stage.engine is not None
        stage.engine.activity_now = Activity(in_flight=3, work=0)
        await stage.life.look()
        assert stage.instance.in_flight == 0

    play(tmp_path, scenario)
