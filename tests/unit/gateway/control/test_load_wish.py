"""Operators' wishes for loaded models, over a real dispatcher: told, followed, and over when they are over."""

import asyncio

import pytest
from tests.unit.gateway.control.operator_scene import Scene, play

from cortex.contract.admin import LoadCall, LoadOutcome
from cortex.contract.error import LoadFailed, ModelLoading, ModelNotFound, ShuttingDown
from cortex.gateway.control import load_wish as module


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


def test_a_load_that_is_called_off_ends_the_wait_and_the_wish() -> None:
    async def scene(it: Scene) -> None:
        task = await it.waiting(LoadCall(model="org/m", wait=True))
        assert not it.fleet.load_failed("a", "org/m", code="unloaded", message="it was unloaded")
        with pytest.raises(LoadFailed, match="'org/m' could not be loaded on a: it was unloaded") as caught:
            await task
        assert caught.value.details["cause"] == "unloaded"
        assert not it.fleet.tick(60)

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
