"""``cortex-neuron doctor`` finds the configuration as the neuron does, and ends with the worst finding's code."""

import json
from pathlib import Path

import pytest

from cortex.cli.doctor.command import Wish
from cortex.cli.doctor.node.command import doctor


def test_a_node_is_looked_at_and_told_to_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "neuron.toml"
    file.write_text("nonsense = 1\n")
    assert doctor(file, Wish(only=("config.file",), as_json=True)) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["daemon"], told["exit"], len(told["findings"])) == ("cortex-neuron", 2, 1)
