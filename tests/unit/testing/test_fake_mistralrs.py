"""The fake program takes the flags of the real one, and ends as that does."""

import subprocess
import sys

import pytest

from cortex.testing.fake_mistralrs import OPTIONS_VARIABLE, main, parse


def test_flags_by_their_long_and_short_names() -> None:
    words = ["-p", "80", "--host=h", "-m", "a/b", "--no-ui", "--max-seqs", "4"]
    assert parse(words) == {"--port": "80", "--host": "h", "--model-id": "a/b", "--no-ui": "", "--max-seqs": "4"}


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        (["--nonsense"], "unexpected argument '--nonsense' found"),
        (["--port"], "a value is required for '--port <VALUE>' but none was supplied"),
    ],
)
def test_a_flag_that_is_none_is_said_to_be(words: list[str], trouble: str) -> None:
    assert parse(words) == trouble


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--version"], 0, "mistralrs 0.9.3"),
        (["doctor"], 0, "mistralrs doctor"),
        (["doctor", "--json"], 0, '"cuda_toolkit_version": "12.9"'),
        (["serve", "--help"], 0, "--pa-memory-mb <VALUE>"),
        (["serve", "--nonsense"], 2, "error: unexpected argument '--nonsense' found"),
        (["sing"], 2, "error: unrecognized subcommand 'sing'"),
    ],
)
def test_what_it_says(argv: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    env = {OPTIONS_VARIABLE: '{"version": "0.9.3", "cuda_toolkit_version": "12.9"}'}
    assert main(argv, env) == code
    assert said in "".join(capfd.readouterr())


def test_a_model_that_cannot_be_loaded_ends_it_before_it_listens(capfd: pytest.CaptureFixture[str]) -> None:
    env = {OPTIONS_VARIABLE: '{"models": {"a": {"error": "no weights"}}}'}
    assert main(["serve", "auto", "-m", "a", "--host", "127.0.0.1", "-p", "0"], env) == 1
    assert "Error: no weights" in capfd.readouterr().err


def test_it_runs_as_a_program() -> None:
    argv = [sys.executable, "-P", "-m", "cortex.testing.fake_mistralrs", "--version"]
    assert subprocess.run(argv, capture_output=True, check=True, text=True).stdout == "mistralrs 0.9.5\n"
