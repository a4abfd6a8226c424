"""What the conformance suites of harnesses have in common: how a case is tried, and questions that all of them ask."""

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from cortex.contract.error import CallerError
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Engine, Harness


class Trial(Protocol):
    """One harness as a neuron process has it, and what it started."""

    @property
    def harness(self) -> Harness:
        """The harness."""
        ...

    async def check(self) -> None:
        """Fail when something is left that should be gone."""
        ...

    def clear(self) -> None:
        """End what is left, whatever it is."""
        ...


C = TypeVar("C")
T = TypeVar("T", bound=Trial)


class Conformance(abc.ABC, Generic[C, T]):
    """A suite of cases ``C`` that are tried by ``T``. Every test ends with the same question: is anything left?"""

    @abc.abstractmethod
    def case(self, folder: Path) -> AbstractAsyncContextManager[C]:
        """Return the case; ``folder`` is empty and the test's own."""

    @abc.abstractmethod
    def _made(self, case: C, folder: Path, http: HttpClient) -> T:
        """Return what tries the case."""

    def _try(self, folder: Path, test: Callable[[C, T], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self._trial(folder) as (case, trial):
                await test(case, trial)

        asyncio.run(run())

    @contextlib.asynccontextmanager
    async def _trial(self, folder: Path) -> AsyncIterator[tuple[C, T]]:
        http = HttpClient()
        async with self.case(folder) as case:
            trial = self._made(case, folder, http)
            try:
                detail = await trial.harness.probe()
                assert detail.usable, f"it cannot be used here: {detail.why_not}"
                yield case, trial
                await trial.check()
            finally:
                trial.clear()
                await http.close()


async def refusal_of(work: Awaitable[Any]) -> CallerError:
    """Return the refusal that some work ends with; it is a failure when there is none."""
    try:
        await work
    except CallerError as error:
        return error
    raise AssertionError("it was not refused")


async def used(harness: Harness, engine: Engine, use: Callable[[], Awaitable[None]]) -> None:
    """Use an engine once; where engines report what they do, it is in what this one reports, and over afterwards."""
    before = await engine.activity()
    await use()
    after = await engine.activity()
    if harness.capabilities.reports_in_flight:
        assert before is not None, "it reports what is in flight"
        assert after is not None, "it reports what is in flight"
        assert (before.in_flight, after.in_flight) == (0, 0)
        assert after.work > before.work, "its work grows with every request"
