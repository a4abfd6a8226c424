"""Directories that need not exist."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.place import cwd, expanded, home

NOBODY = "~nobody-is-called-so"


def test_home_and_the_current_directory_are_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert (home(), cwd(), expanded("~/m")) == (tmp_path, tmp_path, tmp_path / "m")


def test_who_has_no_home_lives_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        return Path(NOBODY).expanduser()  # what Path.home() does for a user without an entry

    monkeypatch.setattr(Path, "home", nobody)
    assert home() == Path("/")


def test_a_current_directory_that_was_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current directory does not exist any more"):
        cwd()


def test_a_tilde_of_nobody_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no such user"):
        expanded(f"{NOBODY}/m.gguf")
