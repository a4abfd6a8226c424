"""The operators' desk over a real dispatcher: neurons are asked, and all of it is put on record."""

import asyncio

import pytest
from tests.unit.gateway.control.operator_scene import Scene, play

from cortex.contract.admin import ExplainQuery, LoadCall, PinCall, UnloadCall
from cortex.contract.error import (
    CallerError,
    ModelNotFound,
    NodeNotFound,
    NodeRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from cortex.contract.instance import PinRequest, UnloadRequest
from cortex.contract.node import MaintenanceRequest
from cortex.fleet.event import PollDue
from cortex.gateway.control import admin_desk as module
from cortex.gateway.control.neuron_client import NeuronRefused


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
        assert [event.node for event in it.told if isinstance(event, PollDue)] == ["a"] * 3
        assert {decision.caller for decision in it.desk.log.since(0).decisions} == {"operator"}

    play(scene)


def test_who_has_unloaded_a_model_is_not_told_afterwards_that_it_is_loaded() -> None:
    async def scene(it: Scene) -> None:
        it.fleet.ready("a", "org/m")
        it.fleet.now_s += 1
        await it.desk.unload(UnloadCall(model="org/m", node="a", wait=True))
        assert it.slept == 3
        assert (await it.desk.load(LoadCall(model="org/m"))).status == "loading"

    play(scene)


def test_an_unload_on_a_node_that_falls_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEALTH_LOOK_S", 0.0)

    async def scene(it: Scene) -> None:
        neuron = it.neurons["a"]
        neuron.gate.clear()
        unloading = asyncio.create_task(it.desk.unload(UnloadCall(model="org/m", node="a", wait=True)))
        await neuron.is_asked.wait()
        it.fleet.lost("a", "no answer within 1 s")
        with pytest.raises(UpstreamTimeout, match=r"a does not answer \(no answer within 1 s\)") as caught:
            await unloading
        assert caught.value.details["node"] == "a"
        await neuron.is_left.wait()
        assert it.kinds() == []

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
