"""The operators' desk over a real dispatcher: loads are followed, neurons are asked, and all of it is put on record."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.fleet.builder import Fleet, a_profile

from cortex.contract.admin import ExplainQuery, LoadCall, LoadOutcome, PinCall, UnloadCall
from cortex.contract.error import (
    CallerError,
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    NodeNotFound,
    NodeRefused,
    ShuttingDown,
    UpstreamUnreachable,
)
from cortex.contract.instance import PinAnswer, PinRequest, UnloadAnswer, UnloadRequest
from cortex.contract.node import MaintenanceAnswer, MaintenanceRequest
from cortex.gateway.control import admin_desk as module
from cortex.gateway.control.admin_desk import AdminDesk
from cortex.gateway.control.neuron_client import NeuronRefused


class Neuron:
    """Answers as a neuron's client does, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None

    def _take(self, request: object) -> None:
        self.asked.append(request)
        if self.error is not None:
            raise self.error

    async def unload(self, request: UnloadRequest) -> UnloadAnswer:
        self._take(request)
        return UnloadAnswer(status="unloaded" if request.wait else "draining")

    async def pin(self, request: PinRequest) -> PinAnswer:
        self._take(request)
        return PinAnswer(pinned=bool(request.pinned))

    async def maintain(self, request: MaintenanceRequest) -> MaintenanceAnswer:
        self._take(request)
        return MaintenanceAnswer(maintenance=request.on)


class Scene:
    def __init__(self, nodes: tuple[str, ...] = ("a",)) -> None:
        profiles = [a_profile("org/m", aliases=("short",)), a_profile("org/huge", vram_mb=1_000_000)]
        self.fleet = Fleet(list(nodes), profiles)
        self.neurons = {node: Neuron() for node in nodes}
        self.desk = AdminDesk(
            self.fleet.dispatcher,
            self.fleet.tell,
            self.neurons,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            load_timeout_s=60.0,
        )

    def now_s(self) -> float:
        return self.fleet.now_s

    def kinds(self) -> list[str]:
        return [decision.kind for decision in self.desk.log.since(0).decisions]

    async def waiting(self, call: LoadCall) -> "asyncio.Task[LoadOutcome]":
        """Begin to wait for a load."""
        task = asyncio.create_task(self.desk.load(call))
        await asyncio.sleep(0)
        assert not task.done()
        return task


def play(scene: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        it = Scene(**options)
        await scene(it)
        assert it.desk._ears == set(), "somebody still listens"

    asyncio.run(run())


def test_a_load_is_told_as_under_way_and_followed_until_it_is_loaded() -> None:
    async def scene(it: Scene) -> None:
        outcome = await it.desk.load(LoadCall(model="short"))
        assert (outcome.model, outcome.node, outcome.status) == ("org/m", "a", "loading")
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        it.fleet.loaded("a", "org/m")
        assert await task == LoadOutcome(model="org/m", node="a", status="loaded", reason="")
        assert it.kinds() == ["placement", "load"]

    play(scene)


def test_a_model_that_is_loaded_is_not_loaded_again() -> None:
    async def scene(it: Scene) -> None:
        it.fleet.ready("a", "org/m")
        for node in (None, "a"):
            outcome = await it.desk.load(LoadCall(model="org/m", node=node, wait=True))
            assert (outcome.node, outcome.status) == ("a", "loaded")
        assert it.kinds() == []

    play(scene)


def test_another_node_than_the_one_that_has_it_is_a_load_of_its_own() -> None:
    async def scene(it: Scene) -> None:
        it.fleet.ready("a", "org/m")
        outcome = await it.desk.load(LoadCall(model="org/m", node="b"))
        assert (outcome.node, outcome.status) == ("b", "loading")

    play(scene, nodes=("a", "b"))


def test_a_load_that_fails_ends_the_wait_with_the_engines_words() -> None:
    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        it.fleet.load_failed("a", "org/m", code="engine_failed", message="bad magic")
        with pytest.raises(LoadFailed, match="'org/m' could not be loaded on a: bad magic") as caught:
            await task
        assert caught.value.details["cause"] == "engine_failed"

    play(scene)


def test_a_load_that_no_node_can_ever_do_is_refused_as_requests_are() -> None:
    async def scene(it: Scene) -> None:
        with pytest.raises(ModelNotFound, match="No node of this fleet can serve 'org/huge'"):
            await it.desk.load(LoadCall(model="org/huge", wait=True))

    play(scene)


def test_somebody_elses_decisions_are_not_heard() -> None:
    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", node="a", wait=True))
        log, now_s = it.desk.log, it.now_s()
        log.note("failure", "not here", now_s=now_s, model="org/m", node="b")
        log.note("failure", "not this", now_s=now_s, model="org/other", node="a")
        log.note("refusal", "not of an operator", now_s=now_s, model="org/m", node="a", caller="x")
        it.fleet.loaded("a", "org/m")
        assert (await task).status == "loaded"

    play(scene)


def test_a_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.0)

    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        it.fleet.now_s += 61
        with pytest.raises(ModelLoading, match="'org/m' is not loaded after 60 s"):
            await task

    play(scene)


def test_a_gateway_that_stops_lets_nobody_wait() -> None:
    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        it.desk.close()
        with pytest.raises(ShuttingDown):
            await task

    play(scene)


def test_who_leaves_does_not_stop_the_load() -> None:
    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        task.cancel()
        await asyncio.wait([task])
        assert it.fleet.dispatcher.loads_under_way() == [("org/m", "a")]

    play(scene)


def test_unloads_pins_and_maintenance_are_asked_of_the_node_and_put_on_record() -> None:
    async def scene(it: Scene) -> None:
        unloaded = await it.desk.unload(UnloadCall(model="short", node="a", wait=True, force=True))
        pinned = await it.desk.pin(PinCall(model="short", node="a", pinned=None))
        drained = await it.desk.maintain("a", is_on=True)
        assert (unloaded.status, pinned.pinned, drained.maintenance) == ("unloaded", False, True)
        assert it.neurons["a"].asked == [
            UnloadRequest(model_id="org/m", wait=True, force=True),
            PinRequest(model_id="org/m", pinned=None),
            MaintenanceRequest(on=True),
        ]
        assert it.kinds() == ["unload", "pin", "maintenance"]
        assert {decision.caller for decision in it.desk.log.since(0).decisions} == {"operator"}

    play(scene)


def test_a_nodes_no_is_told_with_its_code_and_its_details_and_is_not_put_on_record() -> None:
    async def scene(it: Scene) -> None:
        it.neurons["a"].error = NeuronRefused("it is busy", status=409, neuron_code="busy", retry_in_s=3.0)
        with pytest.raises(NodeRefused) as caught:
            await it.desk.unload(UnloadCall(model="org/m", node="a"))
        assert caught.value.message == "a refused: it is busy"
        assert caught.value.details == {"node": "a", "cause": "busy", "retry_in_s": 3.0}
        it.neurons["a"].error = UpstreamUnreachable("no connection")
        with pytest.raises(UpstreamUnreachable) as lost:
            await it.desk.maintain("a", is_on=False)
        assert lost.value.details["node"] == "a"
        assert it.kinds() == []

    play(scene)


def test_names_that_nobody_has_are_told_with_the_nearest() -> None:
    async def scene(it: Scene) -> None:
        with pytest.raises(ModelNotFound, match="did you mean 'short'"):
            await it.desk.load(LoadCall(model="shrot"))
        for call in (LoadCall(model="short", node="x"), UnloadCall(model="short", node="x")):
            with pytest.raises(NodeNotFound, match="No node 'x' is configured; there are: a, b"):
                await (it.desk.load(call) if isinstance(call, LoadCall) else it.desk.unload(call))

    play(scene, nodes=("a", "b"))


def test_queues_and_costs_are_shown() -> None:
    async def scene(it: Scene) -> None:
        it.fleet.arrive("org/m", caller="agent")
        it.fleet.now_s += 2
        queues = it.desk.queues()
        assert (queues.waiting, queues.queues[0].by_caller, queues.queues[0].oldest_wait_s) == (1, {"agent": 1}, 2.0)
        assert [(entry.position, entry.caller) for entry in queues.queues[0].requests] == [(0, "agent")]
        it.fleet.loaded("a", "org/m")
        assert [(entry.caller, entry.loads, entry.loading_s) for entry in it.desk.callers()] == [("agent", 1, 2.0)]

    play(scene)


def test_a_model_is_explained_as_it_is_and_as_it_might_be() -> None:
    async def scene(it: Scene) -> None:
        as_it_is = it.desk.explain(ExplainQuery(model="short"))
        assert (as_it_is.model, as_it_is.need_mb) == ("org/m", 1000)
        assert [(note.node, note.verdict) for note in as_it_is.nodes] == [("a", "fits")]
        larger = it.desk.explain(ExplainQuery(model="short", vram_mb=900_000))
        assert [(note.node, note.verdict) for note in larger.nodes] == [("a", "never")]
        assert it.desk.explain(ExplainQuery(model="short")) == as_it_is, "asking changes nothing"

    play(scene)


def test_a_model_that_is_not_there_yet_can_be_asked_about_with_its_harness() -> None:
    async def scene(it: Scene) -> None:
        new = it.desk.explain(ExplainQuery(model="org/new", harness="llamacpp", vram_mb=100))
        assert (new.model, [note.verdict for note in new.nodes]) == ("org/new", ["fits"])
        with pytest.raises(ModelNotFound):
            it.desk.explain(ExplainQuery(model="org/new"))
        it.fleet.ready("a", "found")
        assert [note.verdict for note in it.desk.explain(ExplainQuery(model="found")).nodes] == ["has_it"]
        with pytest.raises(CallerError, match="say its harness too"):
            it.desk.explain(ExplainQuery(model="found", vram_mb=100))

    play(scene)
