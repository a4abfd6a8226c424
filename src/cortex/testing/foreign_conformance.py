"""What a harness must do for servers that run by themselves, as tests: it lists and names them and touches nothing.

A subclass named ``Test…`` in a test file says how such a server is brought up; pytest finds the tests. Every one ends
with the same question: does the server still run, and does it serve as before?
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from cortex.contract.instance import LoadRequest
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Harness, Launch, ListedModel, Prepared, Site
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle
from cortex.testing.conformance import Conformance, refusal_of
from cortex.testing.harness_conformance import CPU, HOST, a_record


class ForeignCase(msgspec.Struct, frozen=True, kw_only=True):
    """One server that runs by itself, with one model."""

    make: Callable[[HarnessEntry, Site], Harness]
    kind: str
    entry: Mapping[str, object]
    """More keys of the entry in ``neuron.toml``: where the server is."""
    model_id: str
    """The model that it has."""
    use: Callable[[str, str, str | None], Awaitable[None]]
    """Sends one request to a base URL for a model, with its key if it has one; raises unless it is answered well."""
    end: Callable[[], Awaitable[None]]
    """Ends the server, as somebody else would."""


class ForeignTrial:
    """One harness, as a neuron process has it; it starts nothing."""

    def __init__(self, case: ForeignCase, folder: Path, http: HttpClient) -> None:
        self._case = case
        self._folder = folder
        self.is_ended = False
        site = Site(
            bind_host=HOST,
            is_tethered=False,
            env={},
            model_dirs=(),
            gpu_kinds=frozenset(),
            cores=1,
            http=http,
            devices=(CPU,),
        )
        fields = {"name": "trial", "kind": case.kind, **case.entry}
        self.harness = case.make(msgspec.convert(fields, HarnessEntry), site)

    def launch(self) -> Launch:
        """Return a launch that nobody could have prepared."""
        return Launch(
            request=LoadRequest(model_id=self._case.model_id, harness="trial"),
            prepared=Prepared(need_mb=1, is_estimate=False, parallel=1),
            generation=1,
            nonce="nonce-1",
            devices=(CPU,),
            ordinals=(0,),
            log=self._folder / "1.log",
        )

    async def listed(self) -> ListedModel:
        """Return the model as the harness lists it."""
        models = await self.harness.listed()
        assert models is not None, "the server does not answer"
        return next(model for model in models if model.id == self._case.model_id)

    async def check(self) -> None:
        """Fail when the server does not serve any more, unless the test has ended it."""
        if not self.is_ended:
            model = await self.listed()
            await self._case.use(model.url, model.engine_model, model.credential)

    def clear(self) -> None:
        """Nothing of it is ours."""


class ForeignHarnessConformance(Conformance[ForeignCase, ForeignTrial]):
    """The tests. Subclass it under a name that pytest collects."""

    def _made(self, case: ForeignCase, folder: Path, http: HttpClient) -> ForeignTrial:
        return ForeignTrial(case, folder, http)

    def test_it_tells_what_it_is_and_needs_no_device(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            detail = await trial.harness.probe()
            assert (detail.name, detail.kind) == ("trial", case.kind)
            assert (trial.harness.name, trial.harness.kind) == ("trial", case.kind)
            assert trial.harness.capabilities.process_model == "foreign"
            assert not trial.harness.device_kinds

        self._try(tmp_path, test)

    def test_its_models_are_listed_as_loaded_and_serve_where_the_list_says(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            model = await trial.listed()
            assert (model.status, model.is_silent, model.is_broken) == ("loaded", False, False)
            await case.use(model.url, model.engine_model, model.credential)

        self._try(tmp_path, test)

    def test_nothing_is_loaded_into_it(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            request = LoadRequest(model_id="lab/other", harness="trial")
            refusal = await refusal_of(trial.harness.prepare(request, ()))
            assert "lab/other" in refusal.message, "a refusal says what it is about"
            await refusal_of(trial.harness.start(trial.launch()))

        self._try(tmp_path, test)

    def test_no_engine_of_a_neuron_is_found_in_it(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            launch, model = trial.launch(), await trial.listed()
            record = a_record(launch, Handle(url=model.url, engine_model=model.engine_model))
            assert await trial.harness.recover(record, launch.log) is None

        self._try(tmp_path, test)

    def test_a_server_that_is_gone_is_told_from_one_without_models(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            assert await trial.harness.listed()
            trial.is_ended = True
            await case.end()
            assert await trial.harness.listed() is None

        self._try(tmp_path, test)

    def test_questions_at_the_same_time_are_answered_alike(self, tmp_path: Path) -> None:
        async def test(case: ForeignCase, trial: ForeignTrial) -> None:
            first, *others = await asyncio.gather(*(trial.harness.listed() for _ in range(5)))
            assert all(other == first for other in others)

        self._try(tmp_path, test)
