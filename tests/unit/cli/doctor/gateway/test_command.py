"""``cortex doctor`` finds the configuration as ``serve`` does, and ends with the worst finding's code."""

import json
from pathlib import Path

import pytest

from cortex.cli.doctor.command import Wish
from cortex.cli.doctor.gateway.command import doctor
from cortex.contract.error import ConfigError


def test_a_broken_configuration_is_told_to_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cortex.toml"
    file.write_text("nonsense = 1\n")
    assert doctor(file, Wish(only=("config.file",), as_json=True)) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["daemon"], told["exit"], len(told["findings"])) == ("cortex", 2, 1)
    assert told["findings"][0]["found"].startswith(f"{file}: nonsense: unknown key")


def test_a_word_that_is_no_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'config'"):
        doctor(tmp_path / "cortex.toml", Wish(only=("confg",)))
