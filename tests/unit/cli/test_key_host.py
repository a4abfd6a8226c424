"""The first key, made in the store itself."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.cli.runner import apart
from typer.testing import CliRunner

from cortex.cli.command import app
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord
from cortex.gateway.settings import StoreSection
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock


def stored(folder: Path) -> tuple[KeyRecord, ...]:
    async def run() -> tuple[KeyRecord, ...]:
        store = open_store(StoreSection(url=f"sqlite:///{folder}/keys.db"), SystemClock(), "test")
        assert store is not None
        try:
            return (await StoredKeys(store).read())[1]
        finally:
            await store.close()

    return asyncio.run(run())


def test_an_operator_of_the_host_makes_a_key_for_operators_without_a_gateway(tmp_path: Path) -> None:
    config = tmp_path / "cortex.toml"
    config.write_text('[store]\nurl = "sqlite:///keys.db"\n')
    result = apart().invoke(app, ["keys", "create", "root", "--admin", "--config", str(config)])
    assert result.exit_code == 0, result.output
    (record,) = stored(tmp_path)
    assert (record.key.name, record.key.scope) == ("root", "admin")
    assert record.digest == digest_of(result.stdout.strip().encode())


def test_without_a_store_it_says_what_to_configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORTEX_STORE__URL", raising=False)
    config = tmp_path / "cortex.toml"
    config.write_text("")
    result = CliRunner().invoke(app, ["keys", "create", "root", "--admin", "--config", str(config)])
    assert (result.exit_code, "set url under [store]" in result.output) == (1, True)
