"""What an operator gets for a right file, a wrong file, and variables over it."""

import os
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from tests.unit.closed_folder import close

from cortex.contract.error import ConfigError
from cortex.kit.settings import find_config, load_settings


class Door(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: str = "127.0.0.1:1"
    limit_mb: int = 64
    wait_s: float = 1.5
    is_open: bool = False
    mode: Literal["lru", "cost"] = "lru"
    token_file: str | None = None
    burst: int | None = None

    def __post_init__(self) -> None:
        if ":" not in self.listen:
            raise ValueError(f"listen: expected host:port, got '{self.listen}'")


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    weight: int = 1


class House(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    door: Door = Door()
    peers: tuple[Peer, ...] = ()
    ports: tuple[int, ...] = ()
    labels: dict[str, str] = {}
    port: int = 9


def load(tmp_path: Path, text: str = "", **env: str) -> House:
    path = tmp_path / "house.toml"
    path.write_text(text)
    return load_settings(House, path=path, env=env, env_prefix="CORTEX_")


def refusal(tmp_path: Path, text: str = "", **env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **env)
    return caught.value.message


def test_without_file_and_variables_the_defaults_hold() -> None:
    assert load_settings(House, path=None, env={}, env_prefix="CORTEX_") == House()


def test_the_file_fills_sections_and_lists_of_tables(tmp_path: Path) -> None:
    house = load(tmp_path, '[door]\nlisten = "a:1"\nwait_s = 3\n[[peers]]\nname = "x"\n')
    assert house == House(door=Door(listen="a:1", wait_s=3.0), peers=(Peer(name="x"),))


def test_a_variable_beats_the_file_and_leaves_its_neighbours(tmp_path: Path) -> None:
    text = '[door]\nlisten = "a:1"\nlimit_mb = 5\n'
    house = load(tmp_path, text, CORTEX_DOOR__LIMIT_MB="7", CORTEX_PORT="10")
    assert (house.door.listen, house.door.limit_mb, house.port) == ("a:1", 7, 10)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CORTEX_DOOR__WAIT_S", "2", Door(wait_s=2.0)),
        ("CORTEX_DOOR__IS_OPEN", "true", Door(is_open=True)),
        ("CORTEX_DOOR__IS_OPEN", "0", Door(is_open=False)),
        ("CORTEX_DOOR__MODE", "cost", Door(mode="cost")),
        ("CORTEX_DOOR__TOKEN_FILE", "/run/t", Door(token_file="/run/t")),
        ("CORTEX_DOOR__TOKEN_FILE", "12", Door(token_file="12")),
        ("CORTEX_DOOR__TOKEN_FILE", "", Door(token_file=None)),
        ("CORTEX_DOOR__BURST", "12", Door(burst=12)),
        ("CORTEX_DOOR", '{"burst": 3}', Door(burst=3)),
    ],
)
def test_a_variable_is_read_by_its_keys_type(tmp_path: Path, variable: str, text: str, expected: Door) -> None:
    assert load(tmp_path, **{variable: text}).door == expected


def test_lists_and_tables_in_variables_are_json(tmp_path: Path) -> None:
    house = load(tmp_path, CORTEX_PORTS="[1, 2]", CORTEX_PEERS='[{"name": "y"}]', CORTEX_LABELS='{"a": "b"}')
    assert (house.ports, house.peers, house.labels) == ((1, 2), (Peer(name="y"),), {"a": "b"})


def test_a_table_variable_is_merged_into_the_files_table_and_beaten_by_a_key_variable(tmp_path: Path) -> None:
    house = load(tmp_path, "[door]\nlimit_mb = 5\n", CORTEX_DOOR='{"burst": 3, "wait_s": 9}', CORTEX_DOOR__WAIT_S="4")
    assert house.door == Door(limit_mb=5, burst=3, wait_s=4.0)


def test_an_unknown_key_names_file_key_and_the_nearest_known_one(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[door]\nlistn = "a:1"\n')
    assert said == f"{tmp_path}/house.toml: door.listn: unknown key; did you mean 'listen'?"


def test_an_unknown_key_in_a_list_names_its_entry(tmp_path: Path) -> None:
    assert "peers[1].nam: unknown key; did you mean 'name'?" in refusal(
        tmp_path, '[[peers]]\nname = "x"\n[[peers]]\nnam = "y"\n'
    )


def test_a_key_in_the_wrong_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert "listen: unknown key; did you mean 'listen' in [door]?" in refusal(tmp_path, 'listen = "a:1"\n')


def test_an_unknown_key_near_nothing_lists_what_is_known(tmp_path: Path) -> None:
    assert "unknown key; known are: door, labels, peers, port, ports" in refusal(tmp_path, "zzzz = 1\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[door]\nlimit_mb = "5"\n', "door.limit_mb: expected a whole number, got a string"),
        ("[door]\ntoken_file = 5\n", "door.token_file: expected a string, got a whole number"),
        ("ports = 5\n", "ports: expected a list, got a whole number"),
        ("door = 5\n", "door: expected a table, got a whole number"),
        ('[door]\nmode = "lrv"\n', "door.mode: expected one of cost, lru, got 'lrv'; did you mean 'lru'?"),
        ('[door]\nlisten = "a"\n', "door.listen: expected host:port, got 'a'"),
        ("[[peers]]\nweight = 2\n", "peers[0].name: missing, but required"),
    ],
)
def test_a_wrong_value_names_file_key_and_what_was_expected(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text) == f"{tmp_path}/house.toml: {words}"


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("CORTEX_DOOR__LIMIT_MB", "many", "expected a whole number, got 'many'"),
        ("CORTEX_DOOR__IS_OPEN", "maybe", "expected true or false, got 'maybe'"),
        ("CORTEX_PORTS", "1,2", "expected JSON (a list or a table)"),
        ("CORTEX_PORTS", '["a"]', "ports[0]: expected a whole number, got a string"),
        ("CORTEX_DOOR__LISTEN", "a", "door.listen: expected host:port, got 'a'"),
        ("CORTEX_DOOR__LISTN", "a:1", "no setting has this environment variable; did you mean 'CORTEX_DOOR__LISTEN'?"),
        ("CORTEX_DOOR", '{"listn": 1}', "door.listn: unknown key; did you mean 'listen'?"),
    ],
)
def test_a_wrong_variable_is_named_itself(tmp_path: Path, variable: str, text: str, words: str) -> None:
    said = refusal(tmp_path, "[door]\nburst = 1\n", **{variable: text})
    assert said.startswith(f"{variable}: ")
    assert words in said


def test_variables_that_are_no_settings_are_passed_over(tmp_path: Path) -> None:
    others = {
        "CORTEX_CONFIG": "x",
        "CORTEX_URL": "http://x",
        "CORTEX_API_KEY_FILE": "/run/key",
        "CORTEX_FLEET_TOKEN": "s3cret",
        "CORTEX_NEURON_PORT": "1",
        "CORTEX_SERVICE_HOST": "10.0.0.1",
        "CORTEX_PORT": "tcp://10.0.0.1:8000",
        "CORTEX_PORT_8000_TCP_ADDR": "10.0.0.1",
        "PATH": "/bin",
    }
    assert load(tmp_path, **others) == House()


def test_a_longer_prefix_reads_its_own_variables(tmp_path: Path) -> None:
    env = {"CORTEX_NEURON_PORT": "12", "CORTEX_DOOR__LIMIT_MB": "1", "CORTEX_NEURON_CONFIG": "x"}
    assert load_settings(House, path=None, env=env, env_prefix="CORTEX_NEURON_") == House(port=12)


def test_broken_toml_names_file_line_and_column(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[door]\nlisten = = 1\n")
    assert "house.toml: not valid TOML" in said
    assert "line 2, column 10" in said


def test_a_file_may_begin_with_the_mark_that_some_editors_write(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeffport = 12\r\n") == House(port=12)


def test_a_file_that_is_nested_without_end_is_not_valid(tmp_path: Path) -> None:
    assert "house.toml: not valid TOML: " in refusal(tmp_path, "port = " + "[" * 100_000)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "house.toml").write_bytes(b"a = \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(House, path=tmp_path / "house.toml", env={}, env_prefix="CORTEX_")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(House, path=tmp_path, env={}, env_prefix="CORTEX_")


def test_the_config_is_searched_in_the_documented_order(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("cwd", "home", "etc")}
    ladder = [
        tmp_path / "flag.toml",
        tmp_path / "variable.toml",
        places["cwd"] / "cortex.toml",
        places["home"] / ".config" / "cortex" / "cortex.toml",
        places["etc"] / "cortex.toml",
    ]
    for file in ladder:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def found() -> Path | None:
        explicit = ladder[0] if ladder[0].exists() else None
        env = {"CORTEX_CONFIG": str(ladder[1])} if ladder[1].exists() else {}
        return find_config("cortex.toml", explicit=explicit, env=env, env_key="CORTEX_CONFIG", **places)

    for file in ladder:
        assert found() == file
        file.unlink()
    assert found() is None


def test_a_folder_that_is_named_is_not_said_to_be_absent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a file \(named by --config\)"):
        find_config("cortex.toml", explicit=tmp_path, env={}, env_key="CORTEX_CONFIG", cwd=tmp_path, home=tmp_path)


def test_a_pipe_is_told_to_be_read_only_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        pipe = Path(f"/dev/fd/{reading}")
        with pytest.raises(ConfigError, match=rf"{pipe}: a pipe, .*: write it to a file \(named by --config\)"):
            find_config("cortex.toml", explicit=pipe, env={}, env_key="CORTEX_CONFIG", cwd=tmp_path, home=tmp_path)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("somebody_elses", ["here", "home"])
def test_the_folders_of_somebody_else_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, somebody_elses: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "cortex.toml").touch()
    close(monkeypatch, tmp_path / somebody_elses)
    places = {"cwd": tmp_path / "here", "home": tmp_path / "home", "etc": tmp_path / "etc"}
    found = find_config("cortex.toml", explicit=None, env={}, env_key="CORTEX_CONFIG", **places)
    assert found == tmp_path / "etc" / "cortex.toml"


@pytest.mark.parametrize(("flag", "said"), [("etc/x.toml", r" \(named by --config\)"), (None, "")])
def test_a_folder_that_is_meant_and_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str | None, said: str
) -> None:
    close(monkeypatch, tmp_path / "etc")
    places = {"cwd": tmp_path, "home": tmp_path, "etc": tmp_path / "etc"}
    explicit = tmp_path / flag if flag else None
    with pytest.raises(ConfigError, match=rf"\.toml: this user may not look for it there: Permission denied{said}$"):
        find_config("cortex.toml", explicit=explicit, env={}, env_key="CORTEX_CONFIG", **places)


@pytest.mark.parametrize(("flag", "variable"), [("gone.toml", None), (None, "gone.toml")])
def test_a_named_file_that_does_not_exist_is_an_error(tmp_path: Path, flag: str | None, variable: str | None) -> None:
    (tmp_path / "cortex.toml").touch()
    explicit = Path(flag) if flag else None
    env = {"CORTEX_CONFIG": variable} if variable else {}
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file \(named by"):
        find_config("cortex.toml", explicit=explicit, env=env, env_key="CORTEX_CONFIG", cwd=tmp_path, home=tmp_path)


def drop(tmp_path: Path, name: str, text: str) -> Path:
    folder = tmp_path / "house.d"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def load_over(tmp_path: Path, text: str = "", **env: str) -> House:
    path = tmp_path / "house.toml"
    path.write_text(text)
    return load_settings(House, path=path, env=env, env_prefix="CORTEX_", folder="house.d")


def test_files_of_the_folder_are_laid_over_the_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    drop(tmp_path, "20-late.toml", "[door]\nlimit_mb = 3\n")
    drop(tmp_path, "10-early.toml", "[door]\nlimit_mb = 2\nburst = 2\n")
    house = load_over(tmp_path, "[door]\nlimit_mb = 1\nwait_s = 1\n", CORTEX_DOOR__WAIT_S="7")
    assert house.door == Door(limit_mb=3, burst=2, wait_s=7.0)


def test_a_list_in_the_folder_takes_the_place_of_the_files_list(tmp_path: Path) -> None:
    drop(tmp_path, "a.toml", '[[peers]]\nname = "new"\n')
    assert load_over(tmp_path, '[[peers]]\nname = "old"\n').peers == (Peer(name="new"),)


def test_what_does_not_end_in_toml_and_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.toml.rpmnew", ".b.toml", "README"):
        drop(tmp_path, name, "port = 1\n")
    assert load_over(tmp_path) == House()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[door]\nlimit = 1\n", "door.limit: unknown key"),
        ('[door]\nlimit_mb = "5"\n', "door.limit_mb: expected a whole number, got a string"),
        ("[[peers]]\nweight = 2\n", "peers[0].name: missing, but required"),
        ('[door]\nlisten = "a"\n', "door.listen: expected host:port, got 'a'"),
        ("port = = 1\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_folder_names_its_file(tmp_path: Path, text: str, words: str) -> None:
    file = drop(tmp_path, "site.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_over(tmp_path, "[door]\nburst = 1\n")
    assert caught.value.message.startswith(f"{file}: {words}")


def test_a_mistake_in_the_file_is_not_said_of_the_folder(tmp_path: Path) -> None:
    drop(tmp_path, "site.toml", "[door]\nburst = 2\n")
    with pytest.raises(ConfigError) as caught:
        load_over(tmp_path, '[door]\nlisten = "a"\n')
    assert caught.value.message.startswith(f"{tmp_path}/house.toml: door.listen: expected host:port")


def test_a_folder_that_may_not_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr("cortex.kit.settings.os.listdir", refuse)
    with pytest.raises(ConfigError) as caught:
        load_over(tmp_path)
    assert caught.value.message == f"{tmp_path}/house.d: cannot be read: Permission denied"
