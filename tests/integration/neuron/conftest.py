"""Models that the tests beside this file serve."""

from pathlib import Path

import pytest

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_demo_model, write_model


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 40 tokens per second, without an end: something to be cut."""
    return write_model(tmp_path_factory.mktemp("model") / "slow.gguf", TinyModel(layers=400, ctx=1024, eos_bias=None))
