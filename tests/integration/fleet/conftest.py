"""The models that the fleets beside this file serve, and the logs of a fleet whose test has failed."""

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.fleet.fleet import Fleet, written


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand tokens per second."""
    return written(tmp_path_factory.mktemp("model") / "quick.gguf", layers=4)


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 140 tokens per second."""
    return written(tmp_path_factory.mktemp("model") / "slow.gguf", layers=100)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes of a fleet wrote when a test with it fails."""
    report = yield
    if report.failed:
        fleets = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fleet)]
        report.sections += [("logs of the fleet", it.logs()) for it in fleets]
    return report
