"""Which credential neurons ask for and gateways show."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit import credential
from cortex.kit.fleet_token import VARIABLE, fleet_token, has_fleet_token


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


def test_what_the_service_manager_gives_goes_before_the_environment_and_after_a_named_file(tmp_path: Path) -> None:
    around = {VARIABLE: "of the environment", credential.VARIABLE: str(tmp_path)}
    assert fleet_token(None, around) == "of the environment"
    (tmp_path / credential.FLEET_TOKEN).write_text("of systemd\n")
    (tmp_path / "token").write_text("of the file")
    assert fleet_token(None, around) == "of systemd"
    assert fleet_token(str(tmp_path / "token"), around) == "of the file"
    (tmp_path / credential.FLEET_TOKEN).write_text("\n")
    with pytest.raises(ConfigError, match=f"credential {tmp_path}/{credential.FLEET_TOKEN}: .*the file is empty"):
        fleet_token(None, around)


def test_whether_there_is_one_is_known_without_reading_it(tmp_path: Path) -> None:
    assert not has_fleet_token(None, {})
    assert has_fleet_token("token", {})
    assert has_fleet_token(None, {VARIABLE: "x"})
    assert not has_fleet_token(None, {credential.VARIABLE: str(tmp_path)})
    (tmp_path / credential.FLEET_TOKEN).touch()
    assert has_fleet_token(None, {credential.VARIABLE: str(tmp_path)})


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
