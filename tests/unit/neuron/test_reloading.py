"""What of ``neuron.toml`` takes effect while a neuron runs."""

import pytest

from cortex.contract.error import ConfigError
from cortex.neuron.reloading import LIVE, Reloading, Reread
from cortex.neuron.settings import NeuronSettings
from cortex.testing.virtual_clock import VirtualClock

BEFORE = NeuronSettings(port=9090)


def wrong() -> NeuronSettings:
    raise ConfigError("neuron.toml: prt: no such key")


def renewed(settings: NeuronSettings, reread: Reread) -> NeuronSettings:
    return Reloading(reread, VirtualClock().epoch_s).renewed(settings)


def test_what_can_change_does_and_the_rest_is_named(caplog: pytest.LogCaptureFixture) -> None:
    after = renewed(BEFORE, lambda: NeuronSettings(port=1, token_file="/t", headroom_mb=7))
    assert (after.token_file, after.port, after.headroom_mb) == ("/t", 9090, BEFORE.headroom_mb)
    assert "only after a restart, which keeps engines: port, headroom_mb" in caplog.text


def test_a_mistake_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert renewed(BEFORE, wrong) is BEFORE
    assert "stays as it was: neuron.toml: prt" in caplog.text


def test_nothing_is_said_where_nothing_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    assert renewed(BEFORE, lambda: BEFORE) == BEFORE
    assert caplog.text == ""


def test_all_live_keys_are_keys_of_the_file() -> None:
    assert set(LIVE) <= set(NeuronSettings.__struct_fields__)


def test_whether_it_could_be_used_is_remembered_until_it_is_read_again() -> None:
    clock, files = VirtualClock(), [wrong, lambda: BEFORE, lambda: BEFORE]
    it = Reloading(lambda: files.pop(0)(), clock.epoch_s)
    begun_s = it.read_s
    assert it.is_good
    clock.advance(1)
    it.renewed(BEFORE)
    assert (it.is_good, it.read_s) == (False, begun_s)
    clock.advance(1)
    it.renewed(BEFORE)
    assert (it.is_good, it.read_s) == (True, begun_s + 2)
    it.failed("credential", ConfigError("token_file: it is empty"))
    assert not it.is_good
    it.renewed(BEFORE)
    assert it.is_good
