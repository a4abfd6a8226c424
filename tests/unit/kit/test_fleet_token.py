"""Which credential neurons ask for and gateways show."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.fleet_token import VARIABLE, fleet_token


def test_the_credential_is_the_files_text_without_the_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  s3cret\n")
    assert fleet_token(str(tmp_path / "token"), {}) == "s3cret"
    assert fleet_token(None, {}) is None


def test_without_a_file_the_environment_has_it_and_a_file_goes_before(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of the file")
    around = {VARIABLE: " of the environment "}
    assert fleet_token(None, around) == "of the environment"
    assert fleet_token(str(tmp_path / "token"), around) == "of the file"
    assert fleet_token(None, {VARIABLE: ""}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b" \n", "the file is empty"),
        (b"\xff", "cannot be read"),
        (b"one\ntwo", "the file has more than one line"),
    ],
)
def test_a_file_that_has_none_is_told(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"token_file {file}: .*{words}"):
        fleet_token(str(file), {})


@pytest.mark.parametrize(("said", "words"), [("  ", "is empty"), ("s3cret\nof two", "has more than one line")])
def test_a_variable_that_has_none_is_told_without_what_it_says(said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        fleet_token(None, {VARIABLE: said})
    assert f"${VARIABLE}: expected a credential" in told.value.message
    assert "s3cret" not in told.value.message
