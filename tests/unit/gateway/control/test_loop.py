"""The loop: who is told what, exactly once, in which order, and never from within itself."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.fleet.builder import a_discovery, a_health

from cortex.contract.error import CortexError, ModelNotFound, ShuttingDown
from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.contract.node import Health
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.effect import Effect, FetchEndpoint, Grant, Slow, StartLoad
from cortex.fleet.event import EndpointFetched, Event, NodeDiscovered, NodeSampled, Ticked
from cortex.gateway.control.executor import Post
from cortex.gateway.control.loop import QUIET_TICK_S, ControlLoop
from cortex.kit.cause import NOTHING, Cause, cause_of_now, working_for
from cortex.kit.task import TaskOwner
from cortex.testing.virtual_clock import VirtualClock


class Runner:
    """Takes effects down and does nothing."""

    def __init__(self) -> None:
        self.effects: list[Slow] = []
        self.causes: list[Cause] = []

    def carry_out(self, effect: Slow, post: Post) -> None:
        self.effects.append(effect)
        self.causes.append(cause_of_now())


class Caller:
    """A waiter that takes down what it is told, and may do something about it on the spot."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.told: list[Grant | CortexError] = []
        self.then = then

    def cause(self) -> Cause:
        return NOTHING

    def granted(self, grant: Grant) -> None:
        self.told.append(grant)
        self.then()

    def refused(self, error: CortexError, model: str, node: str) -> None:
        self.told.append(error)
        self.then()


class Desk:
    """A loop over a dispatcher with one node, whose model has ``parallel`` slots."""

    def __init__(self, tasks: TaskOwner) -> None:
        self.clock = VirtualClock()
        self.runner = Runner()
        self.dispatcher = Dispatcher(
            ["a"],
            [Profile(id="m", harness="x")],
            policy=Policy(load_timeout_s=60),
            started_s=self.clock.now_s(),
        )
        self.loop = ControlLoop(self.dispatcher, self.runner, self.clock, tasks, sleep=self.clock.sleep)

    def make_ready(self, parallel: int | None = None) -> None:
        report = InstanceReport(id="m", harness="x", status="loaded", generation=1, parallel=parallel)
        now_s = self.clock.now_s()
        self.loop.post(NodeSampled(node="a", health=Health(uptime_secs=1), models=(report,), asked_s=now_s))
        endpoint = EndpointAnswer(url="http://a", generation=1)
        self.loop.post(EndpointFetched(node="a", model="m", endpoint=endpoint, asked_s=now_s))

    def is_at_rest(self) -> bool:
        return not list(self.dispatcher.in_flight()) and not self.dispatcher.waiting() and not self.loop._waiters


def at_desk(test: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        tasks = TaskOwner()
        try:
            await test(Desk(tasks))
        finally:
            await tasks.stop()

    asyncio.run(run())


def test_ready_model_is_granted_before_acquire_returns() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready()
        caller = Caller()
        ticket = desk.loop.acquire("m", caller)
        (grant,) = caller.told
        assert isinstance(grant, Grant)
        assert grant.ticket == ticket
        desk.loop.release(ticket)
        assert desk.is_at_rest()

    at_desk(run)


def test_refusal_is_delivered_with_its_error() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready()
        caller = Caller()
        desk.loop.acquire("nobody", caller)
        (error,) = caller.told
        assert isinstance(error, ModelNotFound)
        assert desk.is_at_rest()

    at_desk(run)


def test_released_waiter_is_never_told_anything() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready(parallel=1)
        first, second = Caller(), Caller()
        running = desk.loop.acquire("m", first)
        leaver = desk.loop.acquire("m", second)
        desk.loop.release(leaver)
        desk.loop.release(running)
        assert second.told == []
        assert desk.is_at_rest()

    at_desk(run)


def test_waiter_may_acquire_and_release_from_within_its_own_call() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready(parallel=1)
        inner = Caller()
        tickets: list[int] = []
        outer = Caller(then=lambda: tickets.append(desk.loop.acquire("m", inner)))
        mine = desk.loop.acquire("m", outer)
        assert inner.told == [], "the one slot is taken"
        desk.loop.release(mine)
        assert len(inner.told) == 1
        desk.loop.release(tickets[0])
        assert desk.is_at_rest()

    at_desk(run)


def test_waiter_that_another_one_releases_in_the_same_moment_is_not_told_and_leaks_nothing() -> None:
    async def run(desk: Desk) -> None:
        second = Caller()
        tickets: list[int] = []
        first = Caller(then=lambda: desk.loop.release(tickets[1]))
        tickets += [desk.loop.acquire("m", first), desk.loop.acquire("m", second)]
        desk.make_ready()
        assert len(first.told) == 1
        assert second.told == []
        desk.loop.release(tickets[0])
        assert desk.is_at_rest()

    at_desk(run)


def test_waiter_that_fails_gives_its_place_back_and_the_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("defect in a waiter")

    async def run(desk: Desk) -> None:
        good, bad = Caller(), Caller(then=fail)
        desk.loop.acquire("m", bad)
        ticket = desk.loop.acquire("m", good)
        desk.make_ready(parallel=1)
        assert len(good.told) == 1
        granted, refused = bad.told
        assert isinstance(granted, Grant)
        assert isinstance(refused, CortexError)  # so that its client is answered
        desk.loop.release(ticket)
        assert desk.is_at_rest()

    at_desk(run)
    assert "a waiter failed" in caplog.text


def test_defect_in_the_dispatcher_is_one_refusal_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready()
        model = desk.dispatcher._floor.by_name["m"]
        desk.dispatcher._floor.by_name["m"] = None  # type: ignore[assignment]
        desk.dispatcher._floor.unresolved = None  # type: ignore[assignment]
        caller, next_caller = Caller(), Caller()
        desk.loop.acquire("m", caller)
        (error,) = caller.told
        assert isinstance(error, CortexError)
        assert error.code == "internal_error"
        desk.dispatcher._floor.by_name["m"] = model
        desk.loop.release(desk.loop.acquire("m", next_caller))
        assert isinstance(next_caller.told[0], Grant)
        assert desk.is_at_rest()

    at_desk(run)
    assert "taking in RequestArrived" in caplog.text


def test_time_is_told_only_while_somebody_waits() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready(parallel=1)
        running = desk.loop.acquire("m", Caller())
        await asyncio.sleep(0)
        assert desk.clock.sleepers() == 0
        heard = asyncio.Event()
        late = Caller(then=heard.set)
        desk.loop.acquire("m", late)
        await desk.clock.until_asleep()
        ticker = desk.loop._ticker
        assert ticker is not None
        desk.clock.advance(60)
        await heard.wait()
        assert isinstance(late.told[0], CortexError)
        await ticker
        assert desk.clock.sleepers() == 0
        desk.loop.release(running)
        assert desk.is_at_rest()

    at_desk(run)


def test_time_moves_on_though_nobody_waits() -> None:
    async def run(desk: Desk) -> None:
        times: list[Event] = []

        def note(event: Event, _now_s: float) -> list[Effect]:
            times.append(event)
            return []

        desk.loop._handle = note
        keeping = asyncio.create_task(desk.loop.keep_time())
        for _ in range(3):
            await desk.clock.until_asleep()
            desk.clock.advance(QUIET_TICK_S)
            await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert times == [Ticked()] * 3

    at_desk(run)


def test_slow_effects_go_to_the_runner() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready()
        assert desk.runner.effects == [FetchEndpoint("a", "m")]
        caller = Caller()
        ticket = desk.loop.acquire("m", caller)
        (grant,) = caller.told
        assert isinstance(grant, Grant)
        desk.loop.suspect(grant.target, "died")
        assert desk.runner.effects == [FetchEndpoint("a", "m")] * 2
        desk.loop.release(ticket)

    at_desk(run)


def test_close_refuses_who_waits_and_who_comes_after() -> None:
    async def run(desk: Desk) -> None:
        waiting, later = Caller(), Caller()
        desk.loop.acquire("m", waiting)
        desk.loop.close()
        desk.loop.acquire("m", later)
        assert [type(error) for error in waiting.told + later.told] == [ShuttingDown, ShuttingDown]
        assert desk.is_at_rest()

    at_desk(run)


def test_request_that_runs_at_close_still_releases() -> None:
    async def run(desk: Desk) -> None:
        desk.make_ready()
        ticket = desk.loop.acquire("m", Caller())
        desk.loop.close()
        desk.loop.release(ticket)
        assert desk.is_at_rest()

    at_desk(run)


class Named(Caller):
    """One of whom others are to hear."""

    def cause(self) -> Cause:
        return Cause("req-1")


def test_a_load_is_done_for_the_request_that_began_it_and_nothing_else_is() -> None:
    async def run(desk: Desk) -> None:
        now_s = desk.clock.now_s()
        discovery = a_discovery(harnesses=["x"])
        with working_for(Cause("somebody else's")):
            desk.loop.post(NodeDiscovered("a", discovery))
            desk.loop.post(NodeSampled(node="a", health=a_health([24_000]), models=(), asked_s=now_s))
            first = desk.loop.acquire("m", Named())
            second = desk.loop.acquire("m", Caller())
        loads = [i for i, effect in enumerate(desk.runner.effects) if isinstance(effect, StartLoad)]
        assert [desk.runner.effects[i].ticket for i in loads] == [first]  # type: ignore[union-attr]
        assert [desk.runner.causes[i] for i in loads] == [Cause("req-1")]
        assert {cause for i, cause in enumerate(desk.runner.causes) if i not in loads} <= {NOTHING}
        desk.loop.release(first)
        desk.loop.release(second)

    at_desk(run)


class Allowance:
    """Counts the loads that a request causes."""

    def __init__(self) -> None:
        self.loads = 0

    def loading(self) -> None:
        self.loads += 1


def test_who_counts_loads_hears_of_those_that_its_own_request_causes() -> None:
    async def test(desk: Desk) -> None:
        now_s = desk.clock.now_s()
        desk.loop.post(NodeDiscovered("a", a_discovery(harnesses=["x"])))
        desk.loop.post(NodeSampled(node="a", health=a_health([24_000]), models=(), asked_s=now_s))
        first, second = Allowance(), Allowance()
        tickets = [desk.loop.acquire("m", Caller(), allowance=one) for one in (first, second)]
        assert [type(effect) for effect in desk.runner.effects].count(StartLoad) == 1
        assert (first.loads, second.loads) == (1, 0)
        for ticket in tickets:
            desk.loop.release(ticket)
        assert not desk.loop._allowances

    at_desk(test)
