"""The configuration that packages bring: it loads, and so does what its comments show."""

import re
from pathlib import Path

import pytest
from tests.arch.source import ROOT

from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import GatewaySettings, load_gateway_settings
from cortex.neuron.settings import NeuronSettings, load_neuron_settings

SHIPPED = ROOT / "packaging" / "rpm" / "config"


def uncommented(name: str, folder: Path) -> Path:
    """Write a shipped file with its examples made valid; return where. An example is a comment that could be TOML."""
    text = (SHIPPED / name).read_text()
    file = folder / name
    file.write_text(re.sub(r"^# (\[\[\w+\]\]|\w+ = .*)$", r"\1", text, flags=re.MULTILINE))
    assert file.read_text() != text
    return file


def test_the_gateways_file_says_the_defaults_and_a_store() -> None:
    shipped, plain = load_gateway_settings(SHIPPED / "cortex.toml", {}), GatewaySettings()
    assert shipped.store.url == "sqlite:////var/lib/cortex/cortex.db"
    assert (shipped.gateway.listen, shipped.gateway.metrics_listen) == (
        plain.gateway.listen,
        plain.gateway.metrics_listen,
    )
    assert (shipped.eviction, shipped.neurons) == (plain.eviction, ())


def test_the_neurons_file_says_the_defaults() -> None:
    assert load_neuron_settings(SHIPPED / "neuron.toml", {}) == NeuronSettings()


def test_the_catalogue_is_empty() -> None:
    assert read_catalogue(SHIPPED / "models.toml") == ()


@pytest.mark.parametrize("name", ["cortex.toml", "neuron.toml", "models.toml"])
def test_each_file_says_where_every_key_is_explained(name: str) -> None:
    assert "/usr/share/doc/cortex/configuration.md" in (SHIPPED / name).read_text()


def test_the_examples_in_the_comments_can_be_used(tmp_path: Path) -> None:
    gateway = load_gateway_settings(uncommented("cortex.toml", tmp_path), {})
    assert [(entry.name, entry.token_file) for entry in gateway.neurons] == [("beast", f"{tmp_path}/beast.token")]
    neuron = load_neuron_settings(uncommented("neuron.toml", tmp_path), {})
    assert [entry.name for entry in neuron.harnesses] == ["llamacpp", "mistralrs"]
    assert neuron.model_dirs == ("/srv/models",)
    assert [profile.harness for profile in read_catalogue(uncommented("models.toml", tmp_path))] == [
        "llamacpp",
        "mistralrs",
    ]
