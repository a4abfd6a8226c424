"""The command line of ``cortex doctor``."""

import json
from pathlib import Path

import pytest
from tests.unit.cli.runner import apart
from typer.testing import CliRunner

from cortex.cli.command import app


def test_checks_are_chosen_and_the_code_is_the_worst_findings(tmp_path: Path) -> None:
    file = tmp_path / "cortex.toml"
    file.write_text("")
    said = CliRunner().invoke(app, ["doctor", "--config", str(file), "--only", "config.file", "--json"])
    assert said.exit_code == 0
    assert [each["id"] for each in json.loads(said.stdout)["findings"]] == ["config.file"]
    file.write_text("nonsense = 1\n")
    assert CliRunner().invoke(app, ["doctor", "--config", str(file), "--only", "config"]).exit_code == 2


@pytest.mark.parametrize("option", [["--only", "confg"], ["--deadline", "0"], ["--deadline", "nan"]])
def test_a_wrong_word_is_misuse(option: list[str]) -> None:
    said = apart().invoke(app, ["doctor", *option])
    assert (said.exit_code, said.stdout) == (2, "")
