"""What is told of an instance in each of its states, and that no step is taken that the table does not have."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import MODEL, FakeEngine, FakeHarness, a_request

from cortex.contract.instance import InstanceError
from cortex.contract.node import Device
from cortex.neuron.harness.interface import Launch, Prepared
from cortex.neuron.instance import Instance, pids_of
from cortex.neuron.refusal import NotLoaded
from cortex.residency.lifecycle import LifecycleEvent

LAUNCH = Launch(
    request=a_request(pinned=True),
    prepared=Prepared(need_mb=100, is_estimate=False, parallel=4),
    generation=3,
    nonce="nonce",
    devices=(Device(index=1, name="GPU", vram_total_mb=1000),),
    ordinals=(0,),
    log=Path("log"),
)


def an_instance(*events: LifecycleEvent, with_engine: bool = False) -> Instance:
    instance = Instance(MODEL)
    instance.begin(FakeHarness(), LAUNCH)
    for event in events:
        instance.move(event)
    if with_engine:
        instance.engine = FakeEngine(pid=7)
    return instance


def in_a_loop(test) -> None:
    async def run() -> None:
        test()

    asyncio.run(run())


def test_how_long_a_request_may_be_is_what_the_engine_says_else_its_load_else_its_harness() -> None:
    def test() -> None:
        instance = an_instance("engine_ready", with_engine=True)
        engine = instance.engine
        assert isinstance(engine, FakeEngine)
        assert instance.reach().context is None
        prepared = msgspec.structs.replace(LAUNCH.prepared, context=32768)
        instance.launch = msgspec.structs.replace(LAUNCH, prepared=prepared)
        assert instance.reach().context == 32768
        instance.launch = msgspec.structs.replace(instance.launch, request=a_request(context=4096))
        assert instance.reach().context == 4096
        engine.handle = msgspec.structs.replace(engine.handle, context=2048)
        assert instance.reach().context == 2048

    in_a_loop(test)


def test_how_far_a_load_is_is_told_as_long_as_it_loads() -> None:
    def test() -> None:
        instance = an_instance()
        assert instance.launch is not None
        assert instance.report(1.0).progress is None
        instance.launch.progress.fraction = 0.4
        assert instance.report(1.0).progress == 0.4
        instance.move("engine_ready")
        assert instance.report(1.0).progress is None
        instance.launch.progress.fraction = None

    in_a_loop(test)


def test_a_loaded_one_tells_all() -> None:
    def test() -> None:
        instance = an_instance("engine_ready", with_engine=True)
        instance.in_flight, instance.active_s, instance.vram_used_mb = 2, 90.0, 120
        report = instance.report(100.0)
        assert (report.status, report.harness, report.kind, report.generation) == ("loaded", "fake", "fake", 3)
        assert (report.devices, report.declared_mb, report.vram_used_mb, report.port) == ((1,), 100, 120, 9000)
        assert (report.in_flight, report.idle_s, report.pinned, report.parallel) == (2, 10.0, True, 4)
        assert pids_of({MODEL: instance}) == {MODEL: 7}

    in_a_loop(test)


def test_memory_may_be_another_processs() -> None:
    def test() -> None:
        instance = an_instance("engine_ready", with_engine=True)
        instance.engine.handle = msgspec.structs.replace(instance.engine.handle, memory_pid=8)
        assert pids_of({MODEL: instance}) == {MODEL: 8}

    in_a_loop(test)


def test_an_unloaded_one_has_nothing_but_a_past() -> None:
    def test() -> None:
        report = an_instance("engine_ready", "unload_requested", "drained", "engine_gone").report(100.0)
        assert (report.status, report.devices, report.declared_mb, report.port) == ("unloaded", (), None, None)
        assert (report.generation, report.harness, report.idle_s) == (3, "fake", None)

    in_a_loop(test)


def test_a_new_life_shows_nothing_of_the_last_one() -> None:
    def test() -> None:
        instance = an_instance("engine_lost")
        instance.error = InstanceError(code="x", message="y")
        instance.in_flight, instance.work, instance.active_s, instance.vram_used_mb = 2, 5.0, 90.0, 120
        instance.begin(FakeHarness(), LAUNCH)
        report = instance.report(100.0)
        assert (report.status, report.error, report.in_flight, report.idle_s) == ("loading", None, 0, None)
        assert (report.vram_used_mb, instance.work, pids_of({MODEL: instance})) == (None, 0.0, {})

    in_a_loop(test)


def test_a_fresh_one_that_was_never_loaded_can_be_told_of() -> None:
    report = Instance(MODEL).report(0.0)
    assert (report.id, report.status, report.harness, report.generation) == (MODEL, "unloaded", "", 0)


def test_a_step_that_the_table_does_not_have_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="'engine_ready' does not belong to state 'unloaded'"):
        Instance(MODEL).move("engine_ready")


def test_only_a_loaded_one_is_reached() -> None:
    def test() -> None:
        loaded = an_instance("engine_ready", with_engine=True)
        assert loaded.reach() == ("fake", "http://127.0.0.1:9000/i/7", 3, "m", "nonce", None, "fake", None)
        loaded.move("unload_requested")
        with pytest.raises(NotLoaded, match="lab/model is draining") as refused:
            loaded.reach()
        assert refused.value.details == {"status": "draining"}

    in_a_loop(test)


def test_the_revision_of_its_load_is_told_as_long_as_it_has_anything() -> None:
    def test() -> None:
        instance = Instance(MODEL)
        assert instance.report(1.0).revision is None
        request = a_request(revision="one")
        instance.begin(FakeHarness(), msgspec.structs.replace(LAUNCH, request=request))
        assert instance.report(1.0).revision == "one"

    in_a_loop(test)
