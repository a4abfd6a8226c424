"""llama.cpp keeps the contract of a harness, with the real embedded engine."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.real_engine import loads

from cortex.neuron.harness.llamacpp import LlamaCppHarness
from cortex.testing.harness_conformance import Case, HarnessConformance


class TestLlamaCpp(HarnessConformance):
    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        yield Case(make=LlamaCppHarness, kind="llamacpp", **loads(folder, self.model))
