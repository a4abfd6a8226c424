"""Where a neuron's configuration comes from, and what ``check`` says about it. Running it is in tests/integration."""

from pathlib import Path

import pytest

from cortex import __version__
from cortex.cli.neuron import run

CONFIG = """\
model_dirs = ["models"]
[[harnesses]]
name = "llamacpp"
[[harnesses]]
name = "old"
kind = "openai"
endpoint = "http://localhost:8080"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CORTEX_NEURON_CONFIG", raising=False)
    (tmp_path / "neuron.toml").write_text(CONFIG)
    return tmp_path


def test_check_says_what_would_run_and_what_is_odd(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--port", "9191"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"configuration: {folder}/neuron.toml",
        "API on 0.0.0.0:9191",
        "harnesses: llamacpp, old (openai)",
        f"note: model_dirs: {folder}/models is no directory",
    ]


def test_the_environment_names_another_file_and_other_values(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.toml").write_text("port = 1\n")
    monkeypatch.setenv("CORTEX_NEURON_CONFIG", str(folder / "other.toml"))
    monkeypatch.setenv("CORTEX_NEURON_HOST", "127.0.0.1")
    assert run(["check"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "API on 127.0.0.1:1",
        "harnesses: none configured",
        "note: no [[harnesses]]: this neuron can load nothing",
    ]


def test_check_finds_what_a_harness_misses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "neuron.toml").write_text('[[harnesses]]\nname = "old"\nkind = "openai"\n')
    with pytest.raises(SystemExit) as ended:
        run(["check"])
    assert ended.value.code == 2
    assert "'old' of kind openai needs `endpoint`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["check", "--port", "70000"], "--port: expected 0 to 65535, got 70000"),
        (["--config", "gone.toml"], "gone.toml: no such file (named by --config)"),
        (["chek"], "invalid choice: 'chek'"),
    ],
)
def test_a_wrong_call_ends_with_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--version"])
    assert capsys.readouterr().out == f"cortex-neuron {__version__}\n"
