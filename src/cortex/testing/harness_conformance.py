"""What every harness must do, as tests: for those of cortex and for those of other packages.

A subclass named ``Test…`` in a test file says how its kind is brought into each situation; pytest finds the tests:

    class TestAbacus(HarnessConformance):
        @contextlib.asynccontextmanager
        async def case(self, folder):
            yield Case(make=AbacusHarness, kind="abacus", works=LoadRequest(…), impossible=LoadRequest(…), …)

Every situation ends with the same question: is anything left? It is for harnesses that start a process per model.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Engine, EngineExit, Harness, Launch, Site
from cortex.neuron.process.child import find_by_environment
from cortex.neuron.process.port import free_port, is_free
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle, Record
from cortex.testing.conformance import Conformance, refusal_of, used

LIMIT_S = 60.0
"""For anything that an engine is waited for."""
STOP_LIMIT_S = 15.0
"""A stop without grace must be over by then, whatever the engine does."""
HOST = "127.0.0.1"
CPU = Device(index=0, name="cpu", vram_total_mb=1 << 20, kind="cpu")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One harness kind and the loads that it is tried with."""

    make: Callable[[HarnessEntry, Site], Harness]
    kind: str
    works: LoadRequest
    """A load that succeeds."""
    impossible: LoadRequest
    """A load that ``prepare`` refuses."""
    fails: LoadRequest
    """A load that can be prepared and whose engine ends without serving."""
    last_words: str
    """What that engine says about it, in part."""
    use: Callable[[str, str], Awaitable[None]]
    """Sends one request to a base URL for an engine's model, and raises unless it is answered well."""
    use_with_key: Callable[[str, str, str], Awaitable[None]] | None = None
    """The same with an engine's key, for a kind whose engines ask for one."""
    devices: tuple[Device, ...] = (CPU,)
    entry: Mapping[str, object] = {}
    """More keys of the entry in ``neuron.toml``."""
    env: Mapping[str, str] = {}
    """More of what engines inherit, beside the environment of the test run."""


class Trial:
    """One harness with a port of its own, as one neuron process has it, and what it started."""

    def __init__(self, case: Case, folder: Path, http: HttpClient) -> None:
        port = free_port(HOST)
        assert port is not None
        self.port = port
        self.http = http
        self._case = case
        self._folder = folder
        self._nonces: list[str] = []
        self._pids: set[int] = set()
        self.harness = self.made()

    def made(self) -> Harness:
        """Return a new harness for the same entry, as the next neuron process makes it."""
        fields = {"name": "trial", "kind": self._case.kind, "port_range": (self.port, self.port), **self._case.entry}
        site = Site(
            bind_host=HOST,
            is_tethered=False,
            env={**os.environ, **self._case.env},
            model_dirs=(),
            gpu_kinds=frozenset(device.kind for device in self._case.devices) - {"cpu"},
            cores=1,
            http=self.http,
            devices=self._case.devices,
        )
        return self._case.make(msgspec.convert(fields, HarnessEntry), site)

    async def launch(self, request: LoadRequest) -> Launch:
        """Prepare a load and return what its engine is started with."""
        nonce = os.urandom(16).hex()
        self._nonces.append(nonce)
        devices = self._case.devices if self.harness.device_kinds else ()
        return Launch(
            request=request,
            prepared=await self.harness.prepare(request, devices),
            generation=len(self._nonces),
            nonce=nonce,
            devices=devices,
            ordinals=tuple(range(len(devices))),
            log=self._folder / f"{len(self._nonces)}.log",
        )

    async def start(self, launch: Launch) -> Engine:
        """Start an engine that has to come into being."""
        started = await self.harness.start(launch)
        assert not isinstance(started, EngineExit), f"it did not start: {started.error}"
        self.note(started)
        return started

    async def up(self) -> tuple[Launch, Engine]:
        """Return an engine that serves."""
        launch = await self.launch(self._case.works)
        engine = await self.start(launch)
        async with asyncio.timeout(LIMIT_S):
            await engine.ready()
        return launch, engine

    def note(self, engine: Engine) -> None:
        self._pids.add(engine.handle.pid)

    async def use(self, handle: Handle) -> None:
        """Have the engine answer one request."""
        if handle.credential is None:
            await self._case.use(handle.url, handle.engine_model)
        else:
            assert self._case.use_with_key is not None, "its engines ask for a key: say how they are used with it"
            await self._case.use_with_key(handle.url, handle.engine_model, handle.credential)

    async def status(self, handle: Handle, path: str) -> int:
        headers = None if handle.credential is None else {"authorization": f"Bearer {handle.credential}"}
        return (await self.http.request("GET", handle.url + path, deadline_s=LIMIT_S, headers=headers)).status

    def reap(self) -> None:
        """Take note of the end of processes that nobody else watches any more: a restarted neuron's parent would."""
        for pid in self._pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    async def check(self) -> None:
        """Fail when a process or a listener is left."""
        self.reap()
        left = self.left()
        assert not left, f"left behind: {', '.join(left)}"

    def clear(self) -> None:
        """End what is left."""
        self.left()
        self.reap()

    def left(self) -> list[str]:
        """Return what there is that should be gone, and end it."""
        found = []
        for nonce in self._nonces:
            pid = find_by_environment(f"CORTEX_INSTANCE={nonce}")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                found.append(f"process {pid}")
        if not is_free(HOST, self.port):
            found.append(f"a listener on port {self.port}")
        return found


class HarnessConformance(Conformance[Case, Trial]):
    """The tests. Subclass it under a name that pytest collects."""

    def _made(self, case: Case, folder: Path, http: HttpClient) -> Trial:
        return Trial(case, folder, http)

    def test_it_tells_its_name_and_kind_and_what_it_can_use(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            detail = await trial.harness.probe()
            assert (detail.name, detail.kind) == ("trial", case.kind)
            assert (trial.harness.name, trial.harness.kind) == ("trial", case.kind)
            assert not trial.harness.device_kinds or {d.kind for d in case.devices} <= trial.harness.device_kinds
            assert trial.harness.capabilities.process_model != "foreign"
            listed = await trial.harness.listed()
            assert listed is not None
            if trial.harness.capabilities.process_model == "per_model":
                assert listed == ()

        self._try(tmp_path, test)

    def test_preparing_a_load_changes_nothing(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            before = files_below(tmp_path)
            launch = await trial.launch(case.works)
            assert launch.prepared.need_mb >= 0
            assert launch.prepared.parallel >= 1
            assert files_below(tmp_path) == before, "preparing made or removed files"

        self._try(tmp_path, test)

    def test_a_load_that_cannot_be_is_refused_with_what_would_be_right(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            refusal = await refusal_of(trial.launch(case.impossible))
            assert refusal.message, "a refusal says why"

        self._try(tmp_path, test)

    def test_an_engine_starts_serves_and_stops(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            launch, engine = await trial.up()
            handle = engine.handle
            assert handle.pid > 0
            assert handle.port == trial.port
            assert find_by_environment(f"CORTEX_INSTANCE={launch.nonce}") is not None, "its environment has the nonce"
            await used(trial.harness, engine, lambda: trial.use(handle))
            assert await engine.stop(LIMIT_S)
            async with asyncio.timeout(LIMIT_S):
                await engine.exited()

        self._try(tmp_path, test)

    def test_its_port_is_given_back(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            for _ in range(2):  # there is only one
                _, engine = await trial.up()
                assert await engine.stop(LIMIT_S)
                await engine.exited()

        self._try(tmp_path, test)

    def test_an_engine_that_does_not_serve_says_why_in_its_own_words(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            engine = await trial.start(await trial.launch(case.fails))
            async with asyncio.timeout(LIMIT_S):
                ended = await engine.exited()
            assert case.last_words in ended.error.message, ended.error
            assert ended.error.code
            assert ended.error.log_tail, "the end of its log comes with it"
            assert not ended.is_port_taken
            assert await engine.stop(0), "one that is gone can be stopped"

        self._try(tmp_path, test)

    def test_an_engine_that_is_killed_is_noticed(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            _, engine = await trial.up()
            os.kill(engine.handle.pid, signal.SIGKILL)
            async with asyncio.timeout(LIMIT_S):
                ended = await engine.exited()
            assert "SIGKILL" in ended.error.message
            assert await engine.stop(0)

        self._try(tmp_path, test)

    def test_a_port_that_somebody_takes_meanwhile_is_told_from_other_failures(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            launch = await trial.launch(case.works)
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind((HOST, trial.port))  # not listening, it does not look taken
                engine = await trial.start(launch)
                other.listen()
                async with asyncio.timeout(LIMIT_S):
                    ended = await engine.exited()
            assert ended.is_port_taken, ended.error

        self._try(tmp_path, test)

    def test_a_stop_is_bounded_also_while_it_loads(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            engine = await trial.start(await trial.launch(case.works))
            async with asyncio.timeout(STOP_LIMIT_S):
                assert await engine.stop(0)
                await engine.exited()

        self._try(tmp_path, test)

    def test_a_start_that_is_called_off_leaves_nothing(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            for steps in range(4):
                async with asyncio.TaskGroup() as group:
                    start = group.create_task(trial.harness.start(await trial.launch(case.works)))
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    start.cancel()
                if not start.cancelled() and not isinstance(start.result(), EngineExit):
                    engine = start.result()
                    assert not isinstance(engine, EngineExit)
                    trial.note(engine)
                    assert await engine.stop(0)
                    await engine.exited()
                assert not trial.left()

        self._try(tmp_path, test)

    def test_the_next_neuron_goes_on_with_an_engine(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            launch, engine = await trial.up()
            engine.let_go()
            heir = trial.made()
            await heir.probe()
            found = await heir.recover(a_record(launch, engine.handle), launch.log)
            assert found is not None
            assert found.handle == engine.handle
            async with asyncio.timeout(LIMIT_S):
                await found.ready()
            await trial.use(found.handle)
            assert await found.stop(LIMIT_S)
            await found.exited()

        self._try(tmp_path, test)

    def test_an_engine_that_is_gone_or_another_process_is_not_gone_on_with(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            launch, engine = await trial.up()
            handle = engine.handle
            younger = msgspec.structs.replace(handle, start_ticks=handle.start_ticks + 1)
            assert await trial.made().recover(a_record(launch, younger), launch.log) is None
            assert await engine.stop(LIMIT_S)
            await engine.exited()
            assert await trial.made().recover(a_record(launch, handle), launch.log) is None

        self._try(tmp_path, test)

    def test_a_fence_keeps_stale_endpoints_from_the_next_engine(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            _, first = await trial.up()
            stale = first.handle
            assert await first.stop(LIMIT_S)
            await first.exited()
            _, second = await trial.up()
            assert second.handle.port == stale.port
            if trial.harness.capabilities.is_fenced:
                assert await trial.status(second.handle, "/v1/models") == 200
                assert await trial.status(stale, "/v1/models") in (401, 404)
            assert await second.stop(LIMIT_S)
            await second.exited()

        self._try(tmp_path, test)

    def test_without_a_free_port_it_says_so(self, tmp_path: Path) -> None:
        async def test(case: Case, trial: Trial) -> None:
            launch = await trial.launch(case.works)
            with socket.create_server((HOST, trial.port)):
                try:
                    ended = await trial.harness.start(launch)
                except CortexError as refusal:
                    raise AssertionError("a port range that is busy is no refusal but an end") from refusal
            assert isinstance(ended, EngineExit)
            assert str(trial.port) in ended.error.message

        self._try(tmp_path, test)


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def a_record(launch: Launch, handle: Handle) -> Record:
    """Return what a neuron writes down of a running engine."""
    return Record(
        model_id=launch.request.model_id,
        harness="trial",
        generation=launch.generation,
        nonce=launch.nonce,
        devices=tuple(device.index for device in launch.devices),
        need_mb=launch.prepared.need_mb,
        is_estimate=launch.prepared.is_estimate,
        parallel=launch.prepared.parallel,
        request=launch.request,
        handle=handle,
    )
