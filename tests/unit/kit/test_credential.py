"""Secrets from the service manager: which files they are, which settings they make, and who else may look at them."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.credential import (
    STORE_URL,
    TLS_KEY,
    VARIABLE,
    Place,
    as_the_unit,
    credential_file,
    is_credential,
    settings_of,
)

PLACES = {STORE_URL: Place(("store", "url"), is_text=True), TLS_KEY: Place(("tls_key",))}


def a_file(folder: Path, name: str, content: str | bytes = "s3cret\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_credential_is_there_where_the_service_manager_has_put_it(tmp_path: Path) -> None:
    file = a_file(tmp_path, TLS_KEY)
    assert credential_file(TLS_KEY, {VARIABLE: str(tmp_path)}) == file
    assert credential_file(STORE_URL, {VARIABLE: str(tmp_path)}) is None
    assert credential_file(TLS_KEY, {VARIABLE: ""}) is None
    assert credential_file(TLS_KEY, {}) is None
    assert credential_file(TLS_KEY, {VARIABLE: str(file)}) is None, "no folder"


def test_those_that_are_there_make_settings_of_their_path_or_of_what_is_in_them(tmp_path: Path) -> None:
    a_file(tmp_path, STORE_URL, " postgresql://me:pw@db/cortex\n")
    key = a_file(tmp_path, TLS_KEY)
    a_file(tmp_path, "somebody-elses")
    assert list(settings_of(PLACES, {VARIABLE: str(tmp_path)})) == [
        (f"credential {STORE_URL}", ("store", "url"), "postgresql://me:pw@db/cortex"),
        (f"credential {TLS_KEY}", ("tls_key",), str(key)),
    ]
    assert list(settings_of(PLACES, {})) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n", "the file is empty"),
        (b"\xff", "it is no text"),
        (None, "Is a directory"),
        ("sqlite:///a\nsqlite:///b\n", "expected one line of text"),
    ],
)
def test_one_without_a_value_is_told_by_its_name(tmp_path: Path, content: str | bytes | None, words: str) -> None:
    if content is None:
        (tmp_path / STORE_URL).mkdir()
    else:
        a_file(tmp_path, STORE_URL, content)
    with pytest.raises(ConfigError, match=f"credential {STORE_URL}: {tmp_path}/{STORE_URL}: .*{words}"):
        list(settings_of(PLACES, {VARIABLE: str(tmp_path)}))


def test_files_of_the_service_manager_are_known_as_such(tmp_path: Path) -> None:
    file = tmp_path / "run/credentials/cortex.service" / TLS_KEY
    assert is_credential(file, {}, tmp_path)
    assert is_credential(tmp_path / "given" / TLS_KEY, {VARIABLE: str(tmp_path / "given")}, tmp_path)
    assert not is_credential(tmp_path / "etc/cortex/tls.key", {}, tmp_path)


def test_who_looks_at_a_units_configuration_sees_its_credentials_running_or_not(tmp_path: Path) -> None:
    config, env = tmp_path / "etc/cortex/cortex.toml", {"A": "b"}

    def seen(path: Path | None = config) -> str | None:
        return as_the_unit(env, "cortex.service", path, tmp_path).get(VARIABLE)

    assert seen() is None
    store = a_file(tmp_path / "etc/credstore", STORE_URL).parent
    assert seen() == str(store)
    (tmp_path / "run/credentials/cortex.service").mkdir(parents=True)
    assert seen() == str(store), "the unit was given none"
    given = a_file(tmp_path / "run/credentials/cortex.service", STORE_URL).parent
    assert seen() == str(given)
    assert as_the_unit(env, "cortex.service", config, tmp_path) == {**env, VARIABLE: str(given)}


def test_another_configuration_has_other_secrets(tmp_path: Path) -> None:
    a_file(tmp_path / "etc/credstore", STORE_URL)
    for path in (tmp_path / "home/me/cortex.toml", None):
        assert as_the_unit({}, "cortex.service", path, tmp_path) == {}
    told = {VARIABLE: "/elsewhere"}
    assert as_the_unit(told, "cortex.service", tmp_path / "etc/cortex/cortex.toml", tmp_path) == told
