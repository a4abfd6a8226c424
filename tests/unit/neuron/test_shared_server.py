"""One model in a shared server as an engine: loaded, watched, lost, unloaded, let go."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cortex.contract.instance import InstanceError
from cortex.neuron.harness.interface import Activity, EngineExit
from cortex.neuron.process.child import attach, spawn, start_ticks
from cortex.neuron.shared_server import GONE_LOOKS, SILENT_LOOKS, ModelState, Pace, SharedEngine
from cortex.neuron.state_dir import Handle

HANDLE = Handle(pid=7, start_ticks=1, port=80, url="http://h:80", engine_model="a/b", is_shared=True)


class FakeServer:
    """A server with one model; loads wait for ``gate``. ``looks`` counts how often it was asked for its models."""

    def __init__(self) -> None:
        self.models: dict[str, ModelState] | None = {"a/b": "unloaded"}
        self.is_well = True
        self.failure: InstanceError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[str] = []
        self.looks = 0
        self.unloads_at_once = True

    async def states(self) -> dict[str, ModelState] | None:
        self.looks += 1
        return self.models

    async def is_healthy(self) -> bool:
        return self.is_well

    async def load(self, name: str) -> InstanceError | None:
        self.calls.append(f"load {name}")
        await self.gate.wait()
        if self.failure is None:
            self.models = {name: "loaded"}
        return self.failure

    async def unload(self, name: str) -> None:
        self.calls.append(f"unload {name}")
        if self.unloads_at_once:
            self.models = {name: "unloaded"}

    async def activity(self, name: str) -> Activity | None:
        return Activity(in_flight=3, work=len(name))

    async def last_words(self) -> tuple[str, ...]:
        return ("that was it",)


Scenario = Callable[[FakeServer, SharedEngine], Awaitable[None]]


def play(scenario: Scenario, *, handle: Handle = HANDLE, unload_wait_s: float = 60) -> FakeServer:
    servers: list[FakeServer] = []

    async def run() -> None:
        server = FakeServer()
        servers.append(server)
        child = attach(os.getpid(), start_ticks(os.getpid())) if handle.pid else None
        pace = Pace(watch_s=0, unload_wait_s=unload_wait_s, sleep=lambda _: asyncio.sleep(0))
        engine = SharedEngine(server, handle, child, pace)
        try:
            await scenario(server, engine)
        finally:
            engine.let_go()

    asyncio.run(run())
    return servers[0]


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never is so")


async def looks(server: FakeServer, more: int) -> None:
    """Wait until the server has been looked at so many more times."""
    last = server.looks + more
    await until(lambda: server.looks >= last)


async def up(server: FakeServer, engine: SharedEngine) -> None:
    engine.begin(load=True)
    await engine.ready()


async def ended(engine: SharedEngine) -> InstanceError:
    end = await engine.exited()
    assert isinstance(end, EngineExit)
    return end.error


def test_it_is_ready_when_the_model_is_loaded() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.gate.clear()
        engine.begin(load=True)
        ready = asyncio.create_task(engine.ready())
        await until(lambda: bool(server.calls))
        assert not ready.done()
        server.gate.set()
        await ready
        assert engine.handle == HANDLE

    assert play(scenario).calls == ["load a/b"]


def test_it_is_not_ready_before_the_server_is_healthy() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.is_well = False
        engine.begin(load=True)
        ready = asyncio.create_task(engine.ready())
        await looks(server, 5)
        assert not ready.done()
        server.is_well = True
        await ready

    play(scenario)


def test_a_model_that_is_there_is_not_loaded_again() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.models = {"a/b": "loaded"}
        engine.begin(load=False)
        await engine.ready()

    assert play(scenario).calls == []


def test_a_model_on_its_way_is_waited_for() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.models = {"a/b": "loading"}
        engine.begin(load=False)
        await looks(server, 5)
        server.models = {"a/b": "loaded"}
        await engine.ready()

    play(scenario)


def test_a_model_on_its_way_that_does_not_arrive_has_failed() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.models = {"a/b": "loading"}
        engine.begin(load=False)
        await looks(server, 2)
        server.models = {"a/b": "unloaded"}
        error = await ended(engine)
        assert (error.code, error.log_tail) == ("engine_failed", ("that was it",))

    play(scenario)


def test_a_load_that_fails_says_why() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.failure = InstanceError(code="out_of_memory", message="no room")
        engine.begin(load=True)
        assert await ended(engine) == server.failure
        assert await engine.stop(0), "one that is gone can be stopped"

    assert play(scenario).calls == ["load a/b"]


def test_a_stop_unloads_the_model_and_leaves_the_server_alone() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        assert await engine.stop(10)
        assert (await ended(engine)).code == "unloaded"

    assert play(scenario).calls == ["load a/b", "unload a/b"]


def test_a_stop_waits_for_a_load_that_cannot_be_called_off() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        server.gate.clear()
        engine.begin(load=True)
        stop = asyncio.create_task(engine.stop(10))
        await until(lambda: bool(server.calls))
        assert not stop.done()
        server.gate.set()
        assert await stop

    assert play(scenario).calls == ["load a/b", "unload a/b"]


def test_a_model_that_is_not_unloaded_is_still_there() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        server.unloads_at_once = False
        assert not await engine.stop(0.01)
        server.models = {"a/b": "unloaded"}
        await engine.exited()

    play(scenario, unload_wait_s=0)


def test_a_server_that_hangs_is_not_waited_for_and_unloads_when_it_comes_back() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        server.models = None
        assert not await engine.stop(grace_s=0)
        server.models = {"a/b": "loaded"}
        assert (await ended(engine)).code == "unloaded"

    assert play(scenario, unload_wait_s=3600).calls == ["load a/b", "unload a/b"]


def test_a_model_that_others_unload_is_lost_and_that_is_said() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        server.models = {"a/b": "unloaded"}
        error = await ended(engine)
        assert error.code == "unloaded_elsewhere"
        assert error.message == "the server at http://h:80 has unloaded a/b, and nobody here asked for it"

    play(scenario)


@pytest.mark.parametrize("models", [{}, {"a/b": "unloaded"}], ids=["not listed", "unloaded"])
def test_one_look_without_the_model_is_not_enough(models: dict[str, ModelState]) -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        end = asyncio.create_task(engine.exited())
        server.models = models
        await looks(server, GONE_LOOKS - 1)
        server.models = {"a/b": "loaded"}
        await looks(server, 5)
        assert not end.done()
        end.cancel()

    play(scenario)


def test_a_server_that_is_silent_but_runs_is_waited_for() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        end = asyncio.create_task(engine.exited())
        server.models = None
        await looks(server, 2 * SILENT_LOOKS)
        assert not end.done()
        end.cancel()

    play(scenario)


def test_a_server_that_is_silent_and_unseen_is_gone() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        server.models = None
        assert (await ended(engine)).code == "server_silent"

    play(scenario, handle=Handle(url="http://h:80", engine_model="a/b", is_shared=True))


def test_a_servers_end_is_the_end_of_its_models() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        child = attach(process.pid, start_ticks(process.pid))
        other = SharedEngine(server, HANDLE, child, Pace())
        await up(server, other)
        process.kill()
        error = await ended(other)
        assert (error.code, error.message) == ("server_gone", "the server at http://h:80 has ended")
        assert await other.stop(0)
        await process.wait()

    assert play(scenario).calls == ["load a/b"]


@pytest.mark.parametrize("how", ["unloaded by others", "silent", "unloaded"])
def test_nobody_looks_at_what_has_ended(how: str) -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        if how == "unloaded":
            await engine.stop(1)
        else:
            server.models = None if how == "silent" else {}
        await ended(engine)
        before = server.looks
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.looks == before

    play(scenario, handle=Handle(url="http://h:80", engine_model="a/b", is_shared=True))


def test_it_goes_on_without_us_when_it_is_let_go() -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        await up(server, engine)
        engine.let_go()
        for _ in range(5):
            await asyncio.sleep(0)
        before = server.looks
        for _ in range(5):
            await asyncio.sleep(0)
        assert server.looks == before

    assert play(scenario).calls == ["load a/b"]


@pytest.mark.parametrize("is_let_go", [True, False], ids=["let go", "stopped"])
def test_who_writes_its_log_goes_when_it_does(tmp_path: Path, is_let_go: bool) -> None:
    async def scenario(server: FakeServer, _: SharedEngine) -> None:
        os.mkfifo(tmp_path / "wait")
        argv = ["sh", "-c", f"read -r line <> {tmp_path / 'wait'}"]
        scribe = spawn(argv, {"PATH": os.environ["PATH"]}, tmp_path / "log", is_tethered=True)
        engine = SharedEngine(server, HANDLE, None, Pace(watch_s=0, sleep=lambda _: asyncio.sleep(0)), scribe)
        await up(server, engine)
        assert scribe.is_running
        if is_let_go:
            engine.let_go()
        else:
            await engine.stop(1)
        await scribe.wait()

    play(scenario)


def test_what_it_does_is_asked_of_the_server() -> None:
    async def scenario(_: FakeServer, engine: SharedEngine) -> None:
        assert await engine.activity() == Activity(in_flight=3, work=3)

    play(scenario)


def test_a_defect_ends_the_engine_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: FakeServer, engine: SharedEngine) -> None:
        async def broken() -> None:
            raise RuntimeError("bang")

        server.states = broken  # type: ignore[method-assign,assignment]
        engine.begin(load=True)
        assert (await ended(engine)).message == "RuntimeError: bang"

    play(scenario)
    assert "cannot be led any more" in caplog.text
