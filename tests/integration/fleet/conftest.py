"""The models that the fleets beside this file serve, and the logs of a fleet whose test has failed."""

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.fleet.fleet import Fleet

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model

SMALL_MB = 3000
"""What an engine of any of these models takes of its GPU."""


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand tokens per second, without an end."""
    return _written(tmp_path_factory.mktemp("model") / "quick.gguf", TinyModel(layers=4, ctx=4096, eos_bias=None))


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 70 tokens per second, without an end."""
    return _written(tmp_path_factory.mktemp("model") / "slow.gguf", TinyModel(layers=200, ctx=4096, eos_bias=None))


def _written(path: Path, model: TinyModel, mb: int = SMALL_MB) -> Path:
    path.with_name(f"{path.name}.mb").write_text(str(mb))
    return write_model(path, model)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes of a fleet wrote when a test with it fails."""
    report = yield
    if report.failed:
        fleets = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fleet)]
        report.sections += [("logs of the fleet", it.logs()) for it in fleets]
    return report
