"""The model that the suites with the real engine serve."""

from pathlib import Path

import pytest

from cortex.neuron.embedded.tiny_model import write_demo_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")
