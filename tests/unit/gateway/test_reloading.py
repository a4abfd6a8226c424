"""Which changes of ``cortex.toml`` take effect, and what is said of the others."""

import logging
from typing import Any

import msgspec
import pytest

from cortex.contract.error import ConfigError
from cortex.gateway.reloading import LIVE, Reloading, changes
from cortex.gateway.settings import EvictionSection, GatewaySection, GatewaySettings, NeuronEntry
from cortex.testing.virtual_clock import VirtualClock

BEFORE = GatewaySettings(gateway=GatewaySection(listen="127.0.0.1:1"))


def read(after: GatewaySettings | Exception, *more: GatewaySettings) -> tuple[Reloading, list[GatewaySettings]]:
    """Read settings one after another; return who read them, and what was applied."""
    wanted: list[Any] = [after, *more]
    applied: list[GatewaySettings] = []

    def reread() -> GatewaySettings:
        one = wanted.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    it = Reloading(BEFORE, reread, VirtualClock())
    it.apply = applied.append
    while wanted:
        it.read()
    return it, applied


def with_keys(**keys: Any) -> GatewaySettings:
    return msgspec.structs.replace(BEFORE, gateway=msgspec.structs.replace(BEFORE.gateway, **keys))


def test_all_live_keys_are_keys_of_the_gateway() -> None:
    assert set(GatewaySection.__struct_fields__) >= LIVE


def test_a_live_key_is_applied_and_the_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    it, applied = read(with_keys(log_level="debug", listen="127.0.0.1:2"))
    assert [(one.gateway.log_level, one.gateway.listen) for one in applied] == [("debug", "127.0.0.1:1")]
    assert it.settings == applied[0]
    assert "configuration reloaded: log_level" in caplog.text
    assert "in effect only after a restart (or SIGUSR2): [gateway] listen" in caplog.text


def test_what_waits_for_a_restart_is_told_once_until_it_is_something_else(caplog: pytest.LogCaptureFixture) -> None:
    read(with_keys(poll_s=1), with_keys(poll_s=1), with_keys(poll_s=1, misses=9))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.partition(": ")[2] for line in told] == ["[gateway] poll_s", "[gateway] poll_s, [gateway] misses"]


def test_a_mistake_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    it, applied = read(ConfigError("cortex.toml: [gateway] listn: no such key"))
    assert applied == []
    assert it.settings is BEFORE
    assert "the old one stays: cortex.toml: [gateway] listn" in caplog.text
    assert next(metric.samples[0].value for metric in it.collect()) == 0


def test_a_process_without_files_reads_nothing() -> None:
    Reloading(BEFORE, None, VirtualClock()).read()


def test_changes_are_named_as_people_write_them() -> None:
    after = GatewaySettings(
        gateway=GatewaySection(listen="127.0.0.1:1", misses=4),
        eviction=EvictionSection(strategy="cost"),
        neurons=(NeuronEntry(name="n", endpoint="http://n:1"),),
    )
    assert changes(BEFORE, after) == ["[gateway] misses", "[eviction] strategy", "[[neurons]]"]
    assert changes(BEFORE, BEFORE) == []
