"""Where a gateway's configuration comes from, and what ``check`` says about it. Running it is in tests/integration."""

import sys
from pathlib import Path

import pytest
from tests.certificate import Authority
from tests.unit.cli.desk import desk

from cortex.cli.failure import FAILED
from cortex.cli.serve import check, load, reload, serve
from cortex.contract.error import ConfigError

CONFIG = """\
[gateway]
listen = "127.0.0.1:1"
metrics_listen = "127.0.0.1:2"
[[neurons]]
name = "beast"
endpoint = "http://10.0.0.1:9090"
"""
CATALOGUE = '[[models]]\nid = "m"\nharness = "h"\npinned_on = ["beast", "ghost"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CORTEX_CONFIG", raising=False)
    (tmp_path / "cortex.toml").write_text(CONFIG)
    (tmp_path / "models.toml").write_text(CATALOGUE)
    return tmp_path


def test_the_catalogue_beside_the_config_is_loaded_with_it(folder: Path) -> None:
    loaded = load(None, {}, folder, folder / "home")
    assert loaded.path == folder / "cortex.toml"
    assert loaded.settings.neurons[0].name == "beast"
    assert [profile.id for profile in loaded.profiles] == ["m"]


def test_a_catalogue_named_in_the_config_starts_at_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "models.toml").rename(folder / "mine.toml")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    loaded = load(folder / "cortex.toml", {"CORTEX_GATEWAY__MODELS": "mine.toml"}, Path("/"), folder)
    assert [profile.id for profile in loaded.profiles] == ["m"]


def test_a_catalogue_that_is_gone_is_not_taken_for_an_empty_one(folder: Path) -> None:
    loaded = load(None, {}, folder, folder / "home")
    (folder / "models.toml").unlink()
    with pytest.raises(ConfigError, match=r"models\.toml: no such file"):
        reload(loaded)


def test_a_catalogue_may_come_later_than_the_gateway(folder: Path) -> None:
    (folder / "models.toml").unlink()
    loaded = load(None, {}, folder, folder / "home")
    assert reload(loaded) == ()
    (folder / "models.toml").write_text(CATALOGUE)
    assert [profile.id for profile in reload(loaded)] == ["m"]


def test_check_says_what_would_run_and_what_is_odd(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(None) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"configuration: {folder}/cortex.toml",
        "API on 127.0.0.1:1, metrics on 127.0.0.1:2",
        "nodes: beast (http://10.0.0.1:9090)",
        "models: m",
        "note: m is pinned on ghost, which is no name under [[neurons]]",
    ]


def test_check_names_the_files_that_are_laid_over_the_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "conf.d").mkdir()
    (folder / "conf.d/site.toml").write_text('[gateway]\nlisten = "127.0.0.1:3"\nmodels = "mine.toml"\n')
    (folder / "models.toml").rename(folder / "mine.toml")
    assert check(None) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        f"configuration: {folder}/cortex.toml",
        f"and over it: {folder}/conf.d/site.toml",
        "API on 127.0.0.1:3, metrics on 127.0.0.1:2",
        "nodes: beast (http://10.0.0.1:9090)",
    ]


def test_check_without_a_file_says_where_it_looked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    monkeypatch.setenv("CORTEX_GATEWAY__METRICS_LISTEN", "0.0.0.0:8000")
    assert check(None) == 0
    out = capsys.readouterr().out
    assert "defaults (no file at $CORTEX_CONFIG, ./cortex.toml," in out
    assert "note: no [[neurons]]: every request will be answered 503" in out
    assert "note: listen and metrics_listen have the same port" in out


def test_a_wrong_configuration_ends_with_code_2_and_every_fault(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models.toml").write_text(CATALOGUE + "vram_mb = 0\n" + CATALOGUE.replace("harness", "harnes"))
    with pytest.raises(SystemExit) as ended:
        check(folder / "cortex.toml")
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("[[models]] ")[2] for line in lines] == [
        "entry 1 (m): vram_mb: expected a number above 0, got 0",
        "entry 2 (m): harnes: unknown key; did you mean 'harness'?",
    ]


@pytest.mark.parametrize("flag", ["--listen", "--metrics-listen"])
def test_a_flag_is_checked_like_the_file(folder: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        serve([flag, "8000"])
    assert ended.value.code == 2
    assert f"cortex serve: {flag}: expected host:port (0.0.0.0:8000, [::1]:8000), got '8000'" in capsys.readouterr().err


def test_an_unknown_flag_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve(["--lisen", "x:1"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --lisen" in capsys.readouterr().err


def test_check_that_asks_the_neurons_says_what_does_not_fit_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    discovery = {"hostname": "h", "os": "L", "kernel": "6", "harnesses": ["h"]}
    discovery["devices"] = [{"index": 0, "name": "GPU", "vram_total_mb": 8000}]
    big = '[[models]]\nid = "big"\nharness = "h"\nvram_mb = 9000\n'
    (folder / "models.toml").write_text(CATALOGUE + big)
    with desk(GET_discovery=discovery, GET_health={"uptime_secs": 1.0}, GET_models=[]) as here:
        (folder / "cortex.toml").write_text(CONFIG.replace("http://10.0.0.1:9090", here.url))
        assert check(None, asks_neurons=True) == FAILED
        (folder / "models.toml").write_text(CATALOGUE)
        assert check(None, asks_neurons=True) == 0, "a pin that protects nothing is odd, and not wrong"
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert [note.partition(": beast")[0] for note in notes] == [
        "note: big can run on no node",
        "note: m is pinned on ghost, which is no node of this fleet",
        "note: m is pinned on ghost, which is no node of this fleet",
    ]


def test_check_names_the_neurons_that_it_could_not_ask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cortex.toml").write_text(CONFIG.replace("10.0.0.1:9090", "127.0.0.1:1"))
    assert check(None, asks_neurons=True) == 0
    assert "note: beast was not looked at: no answer from the neuron" in capsys.readouterr().out


def test_check_names_the_store_without_its_password_and_connects_to_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_STORE__URL", "postgresql://u:s3cret@127.0.0.1:1/d")
    assert check(None) == 0
    said = capsys.readouterr().out
    assert "store: postgresql://127.0.0.1:1/d" in said.splitlines()
    assert "s3cret" not in said


def test_check_says_what_a_store_takes_where_it_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_STORE__URL", "sqlite:///store.db")
    monkeypatch.setitem(sys.modules, "cortex.gateway.store.database", None)
    with pytest.raises(SystemExit) as ended:
        check(None)
    assert ended.value.code == 2
    assert "pip install 'cortex-gateway[store]'" in capsys.readouterr().err


def test_check_looks_whether_certificates_can_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Authority(folder).issue("gateway")
    monkeypatch.setenv("CORTEX_GATEWAY__TLS_CERT", pair.cert)
    monkeypatch.setenv("CORTEX_GATEWAY__TLS_KEY", pair.key)
    assert check(None) == 0
    assert f"TLS by {pair.cert}\n" in capsys.readouterr().out
    Path(pair.key).write_text("nothing")
    with pytest.raises(SystemExit, match="2"):
        check(None)
    assert f"[gateway] tls_cert, tls_key: {pair.cert} and {pair.key} are no certificate" in capsys.readouterr().err


def test_check_looks_whether_what_neurons_are_shown_can_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = folder / "secret" / "cortex.fleet-token"
    secret.parent.mkdir()
    secret.write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    assert check(None) == 0
    secret.write_text("\n")
    with pytest.raises(SystemExit, match="2"):
        check(None)
    assert f"credential {secret}: expected a credential, the file is empty" in capsys.readouterr().err
