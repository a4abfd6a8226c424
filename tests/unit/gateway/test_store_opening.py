"""Whether and how the settings' store is opened."""

import asyncio
import sys

import pytest

from cortex.contract.error import ConfigError
from cortex.gateway.settings import StoreSection
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock


def test_without_a_url_there_is_no_store() -> None:
    assert open_store(StoreSection(), SystemClock(), "g") is None


def test_store_that_is_named_is_opened_and_asked_nothing(tmp_path) -> None:
    async def run() -> None:
        file = tmp_path / "cortex.sqlite"
        database = open_store(StoreSection(url=f"sqlite:///{file}"), SystemClock(), "g")
        assert database is not None
        assert not file.exists()
        await database.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "library"),
    [("sqlite:////tmp/x", "cortex.gateway.store.database"), ("postgresql://h/d", "asyncpg")],
)
def test_store_whose_libraries_are_missing_is_an_error_that_names_the_extra(monkeypatch, url, library) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"{library}.* is not installed; .*cortex-gateway\[store\]"):
        open_store(StoreSection(url=url), SystemClock(), "g")
