"""What a harness must do whose models share one server, as tests: for those of cortex and for those of other packages.

A subclass named ``Test…`` in a test file says how the server is brought up and what is loaded into it; pytest finds the
tests. Every one ends with the same question: is the server left as it was, with nothing loaded that nobody wanted?
``harness_conformance.py`` has the tests for harnesses that start a process per model.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Engine, EngineExit, Harness, Launch, ListedModel, Restartable, Site
from cortex.neuron.process.child import attach, start_ticks
from cortex.neuron.settings import HarnessEntry
from cortex.testing.conformance import Conformance, refusal_of, used
from cortex.testing.harness_conformance import CPU, HOST, LIMIT_S, a_record

STOP_LIMIT_S = 15.0


class SharedCase(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of shared server that runs, with two models in it that are unloaded."""

    make: Callable[[HarnessEntry, Site], Harness]
    kind: str
    entry: Mapping[str, object]
    """More keys of the entry in ``neuron.toml``: where the server is."""
    works: LoadRequest
    also_works: LoadRequest
    """Another model of the same server."""
    impossible: LoadRequest
    """A load that ``prepare`` refuses."""
    fails: LoadRequest
    """A load that can be prepared and does not end well."""
    last_words: str
    """What the server says about it, in part."""
    use: Callable[[str, str], Awaitable[None]]
    """Sends one request to a base URL for an engine's model, and raises unless it is answered well."""
    pid: Callable[[], int]
    """The server's process now; 0: none."""
    unload: Callable[[str], Awaitable[None]]
    """Unloads an engine's model behind the harness's back."""
    devices: tuple[Device, ...] = (CPU,)
    env: Mapping[str, str] = {}
    """More of what the harness's programs inherit."""


class SharedTrial:
    """One harness, as one neuron process has it, and what it started."""

    def __init__(self, case: SharedCase, folder: Path, http: HttpClient) -> None:
        self._case = case
        self._folder = folder
        self._http = http
        self._launches = 0
        self._server_pid = case.pid()
        self._engines: list[Engine] = []
        self.harness = self.made()

    def made(self) -> Harness:
        """Return a new harness for the same entry, as the next neuron process makes it."""
        site = Site(
            bind_host=HOST,
            is_tethered=False,
            env={**os.environ, **self._case.env},
            model_dirs=(),
            gpu_kinds=frozenset(device.kind for device in self._case.devices) - {"cpu"},
            cores=1,
            http=self._http,
            devices=self._case.devices,
        )
        fields = {"name": "trial", "kind": self._case.kind, **self._case.entry}
        return self._case.make(msgspec.convert(fields, HarnessEntry), site)

    async def launch(self, request: LoadRequest) -> Launch:
        """Prepare a load and return what its engine is started with."""
        self._launches += 1
        prepared = await self.harness.prepare(request, ())
        assert prepared.devices is not None, "a shared server says where its models are"
        devices = tuple(device for device in self._case.devices if device.index in prepared.devices)
        return Launch(
            request=request,
            prepared=prepared,
            generation=self._launches,
            nonce=f"nonce-{self._launches}",
            devices=devices,
            ordinals=tuple(range(len(devices))),
            log=self._folder / f"{self._launches}.log",
        )

    async def start(self, request: LoadRequest) -> tuple[Launch, Engine]:
        """Start an engine that has to come into being."""
        launch = await self.launch(request)
        started = await self.harness.start(launch)
        assert not isinstance(started, EngineExit), f"it did not start: {started.error}"
        self._engines.append(started)
        return launch, started

    async def up(self, request: LoadRequest | None = None) -> tuple[Launch, Engine]:
        """Return an engine that serves."""
        launch, engine = await self.start(request or self._case.works)
        async with asyncio.timeout(LIMIT_S):
            await engine.ready()
        return launch, engine

    async def recovered(self, launch: Launch, engine: Engine, **changes: object) -> Engine | None:
        """Return what the next neuron finds of an engine."""
        heir = self.made()
        await heir.probe()
        record = a_record(launch, msgspec.structs.replace(engine.handle, **changes))
        found = await heir.recover(record, launch.log)
        if found is not None:
            self._engines.append(found)
        return found

    async def states(self) -> dict[str, str]:
        """Return what the server says of each model."""
        listed = await self.made().listed()
        assert listed is not None, "the server does not answer"
        return {model.id: model.status for model in listed}

    async def listed(self, model_id: str) -> ListedModel:
        models = await self.harness.listed()
        assert models is not None
        return next(model for model in models if model.id == model_id)

    async def check(self) -> None:
        """Fail when a model is left in the server, unless the test has ended that."""
        if self._case.pid() == self._server_pid:
            left = [model for model, status in (await self.states()).items() if status != "unloaded"]
            assert left == [], "left behind in the server"

    def clear(self) -> None:
        """Watch nothing any more; the server ends with its case."""
        for engine in self._engines:
            engine.let_go()


class SharedHarnessConformance(Conformance[SharedCase, SharedTrial]):
    """The tests. Subclass it under a name that pytest collects."""

    def _made(self, case: SharedCase, folder: Path, http: HttpClient) -> SharedTrial:
        return SharedTrial(case, folder, http)

    def test_it_tells_what_it_is_and_lists_what_there_is(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            detail = await trial.harness.probe()
            assert (detail.name, detail.kind) == ("trial", case.kind)
            assert trial.harness.capabilities.process_model == "shared"
            assert trial.harness.device_kinds <= {device.kind for device in case.devices}
            assert isinstance(trial.harness, Restartable)
            listed = await trial.listed(case.works.model_id)
            assert listed.status == "unloaded"
            assert set(listed.devices) <= {device.index for device in case.devices}
            assert listed.parallel >= 1

        self._try(tmp_path, test)

    def test_preparing_a_load_changes_nothing(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            before = await trial.states()
            launch = await trial.launch(case.works)
            assert launch.prepared.need_mb >= 0
            assert launch.prepared.parallel >= 1
            assert await trial.states() == before

        self._try(tmp_path, test)

    def test_a_load_that_cannot_be_is_refused_with_what_would_be_right(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            refusal = await refusal_of(trial.launch(case.impossible))
            assert case.works.model_id in refusal.message, "a refusal says what there is"

        self._try(tmp_path, test)

    def test_a_model_is_loaded_serves_and_is_unloaded(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, engine = await trial.up()
            handle = engine.handle
            assert (handle.is_shared, handle.pid) == (True, case.pid())
            assert (await trial.listed(case.works.model_id)).status == "loaded"
            await used(trial.harness, engine, lambda: case.use(handle.url, handle.engine_model))
            assert await engine.stop(LIMIT_S)
            async with asyncio.timeout(LIMIT_S):
                await engine.exited()
            assert case.pid() == handle.pid, "the server goes on"

        self._try(tmp_path, test)

    def test_one_model_goes_and_the_others_stay(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, first = await trial.up()
            _, second = await trial.up(case.also_works)
            assert await first.stop(LIMIT_S)
            await case.use(second.handle.url, second.handle.engine_model)
            assert await second.stop(LIMIT_S)

        self._try(tmp_path, test)

    def test_a_model_comes_back_again_and_again(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            for _ in range(3):
                _, engine = await trial.up()
                await case.use(engine.handle.url, engine.handle.engine_model)
                assert await engine.stop(LIMIT_S)

        self._try(tmp_path, test)

    def test_a_load_that_fails_says_why_in_the_servers_own_words(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, engine = await trial.start(case.fails)
            async with asyncio.timeout(LIMIT_S):
                ended = await engine.exited()
            assert case.last_words in ended.error.message, ended.error
            assert not ended.is_port_taken
            assert await engine.stop(0), "one that is gone can be stopped"

        self._try(tmp_path, test)

    def test_a_server_that_is_killed_is_the_end_of_all_its_models(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, first = await trial.up()
            _, second = await trial.up(case.also_works)
            os.kill(case.pid(), signal.SIGKILL)
            async with asyncio.timeout(LIMIT_S):
                ends = await asyncio.gather(first.exited(), second.exited())
            assert all(end.error.message for end in ends)
            assert await first.stop(0)
            assert await trial.harness.listed() is None

        self._try(tmp_path, test)

    def test_a_model_that_others_unload_is_noticed(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, engine = await trial.up()
            await case.unload(engine.handle.engine_model)
            async with asyncio.timeout(LIMIT_S):
                await engine.exited()
            assert await engine.stop(0)

        self._try(tmp_path, test)

    def test_a_stop_is_bounded_also_while_it_loads(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            _, engine = await trial.start(case.works)
            async with asyncio.timeout(STOP_LIMIT_S):
                assert await engine.stop(0)
                await engine.exited()

        self._try(tmp_path, test)

    def test_a_start_that_is_called_off_loads_nothing(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            for steps in range(4):
                launch = await trial.launch(case.works)
                async with asyncio.TaskGroup() as group:
                    start = group.create_task(trial.harness.start(launch))
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    start.cancel()
                assert start.cancelled()
                assert (await trial.states())[case.works.model_id] == "unloaded"

        self._try(tmp_path, test)

    def test_the_next_neuron_goes_on_with_a_model(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            launch, engine = await trial.up()
            engine.let_go()
            found = await trial.recovered(launch, engine)
            assert found is not None
            assert found.handle == engine.handle
            async with asyncio.timeout(LIMIT_S):
                await found.ready()
            await case.use(found.handle.url, found.handle.engine_model)
            assert await found.stop(LIMIT_S)

        self._try(tmp_path, test)

    def test_a_model_that_is_gone_or_in_another_server_is_not_gone_on_with(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            launch, engine = await trial.up()
            younger = engine.handle.start_ticks + 1
            assert await trial.recovered(launch, engine, start_ticks=younger) is None
            assert await engine.stop(LIMIT_S)
            assert await trial.recovered(launch, engine) is None
            child = attach(case.pid(), start_ticks(case.pid()))
            assert child is not None, "and the server was left alone"
            child.let_go()

        self._try(tmp_path, test)

    def test_a_model_that_was_seen_loaded_is_found_whichever_server_has_it(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            launch, engine = await trial.up()
            engine.let_go()
            found = await trial.recovered(launch, engine, pid=0, start_ticks=0, url="", engine_model="")
            assert found is not None
            assert found.handle == engine.handle
            assert await found.stop(LIMIT_S)

        self._try(tmp_path, test)

    def test_a_restart_is_another_process_that_answers(self, tmp_path: Path) -> None:
        async def test(case: SharedCase, trial: SharedTrial) -> None:
            before = case.pid()
            assert isinstance(trial.harness, Restartable)
            async with asyncio.timeout(LIMIT_S):
                await trial.harness.restart()
            assert case.pid() not in (0, before)
            assert case.works.model_id in await trial.states()

        self._try(tmp_path, test)
