"""What of ``neuron.toml`` takes effect while a neuron runs."""

import pytest

from cortex.contract.error import ConfigError
from cortex.neuron.reloading import LIVE, renewed
from cortex.neuron.settings import NeuronSettings

BEFORE = NeuronSettings(port=9090)


def test_what_can_change_does_and_the_rest_is_named(caplog: pytest.LogCaptureFixture) -> None:
    after = renewed(BEFORE, lambda: NeuronSettings(port=1, token_file="/t", headroom_mb=7))
    assert (after.token_file, after.port, after.headroom_mb) == ("/t", 9090, BEFORE.headroom_mb)
    assert "only after a restart, which keeps engines: port, headroom_mb" in caplog.text


def test_a_mistake_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def wrong() -> NeuronSettings:
        raise ConfigError("neuron.toml: prt: no such key")

    assert renewed(BEFORE, wrong) is BEFORE
    assert "stays as it was: neuron.toml: prt" in caplog.text


def test_nothing_is_said_where_nothing_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    assert renewed(BEFORE, lambda: BEFORE) == BEFORE
    assert caplog.text == ""


def test_all_live_keys_are_keys_of_the_file() -> None:
    assert set(LIVE) <= set(NeuronSettings.__struct_fields__)
