"""The command line of ``cortex-neuron doctor``."""

import json
from pathlib import Path

import pytest

from cortex.cli.neuron import run


def test_it_is_a_word_of_the_neurons_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "neuron.toml"
    file.write_text("")
    assert run(["doctor", "--config", str(file), "--only", "config.file", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["id"], found["found"]) == ("config.file", str(file))


@pytest.mark.parametrize(
    "option", [["--only", "confg"], ["--deadline", "0"], ["--deadline", "nan"], ["--deadline", "x"], ["--no-such"]]
)
def test_a_wrong_word_is_misuse(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["doctor", *option])
    assert left.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "cortex-neuron doctor" in told.err
