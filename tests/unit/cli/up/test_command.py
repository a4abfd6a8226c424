"""How a local fleet's end is told. Signals and real processes: tests/integration/cli."""

import io
import sys
from pathlib import Path

import pytest

from cortex.cli.up.command import _first, _say, up
from cortex.cli.up.plan import Wish
from cortex.contract.error import ConfigError, LoadFailed


def test_of_several_errors_of_ours_the_first_is_told() -> None:
    first = LoadFailed("no room")
    assert _first(ExceptionGroup("", [first, ConfigError("x")])) is first


def test_a_defect_is_not_hidden_behind_an_error_of_ours() -> None:
    group = ExceptionGroup("", [LoadFailed("no room"), ZeroDivisionError()])
    assert _first(group) is group


def test_a_terminal_that_is_gone_does_not_stop_the_stopping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "tty").open("w") as file:

        class Gone(io.TextIOBase):
            def write(self, _: str) -> int:
                raise OSError("Input/output error")

            def fileno(self) -> int:
                return file.fileno()

        monkeypatch.setattr(sys, "stdout", Gone())
        _say("stopping")
        file.write("now goes nowhere")
    assert (tmp_path / "tty").read_text() == ""


def test_a_fleet_that_cannot_start_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        up(Wish(model=str(tmp_path / "gone.gguf")), {})
    assert list(tmp_path.iterdir()) == []
