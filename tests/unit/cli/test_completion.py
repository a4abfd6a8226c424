"""Completion as real shells do it, against a scripted gateway."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.completion import NEURON_WORDS, SHELLS, complete_shell, script
from cortex.cli.neuron import _parser

MODELS = {
    "models": [
        {"id": "org/coder", "aliases": ["fast", "qwen3:8b"]},
        {"id": "$(touch /tmp/owned)", "aliases": ["`id`", "a b", "x;y", "-rf"]},
        {"id": "qwen3:32b", "aliases": []},
    ]
}
NODES = {"nodes": [{"name": "beast"}, {"name": "benjy"}]}
ANSWERS = {"GET_admin_v1_models": MODELS, "GET_admin_v1_nodes": NODES}
BASH_DRIVER = """\
source <("$PYTHON" -P -m cortex completion bash)
cortex() { "$PYTHON" -P -m cortex; }
COMP_LINE=$1; COMP_POINT=${#1}
_cortex cortex
printf '%s\\n' "${COMPREPLY[@]}"
"""


def has(shell: str) -> bool:
    """Return whether a shell is there; bash always has to be."""
    return shell == "bash" or shutil.which(shell) is not None


def run(command: list[str], url: str = "http://127.0.0.1:1") -> list[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CORTEX_", "COMP_"))}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=clean | {"PYTHON": sys.executable, "CORTEX_URL": url},
        timeout=100,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def in_bash(line: str, url: str = "http://127.0.0.1:1") -> list[str]:
    """Return what bash offers when tab is pressed at the end of a line."""
    return [word for word in run(["bash", "--norc", "-c", BASH_DRIVER, "bash", line], url) if word]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    if not has(shell):
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    run([shell, "-n", str(path)])


def test_bash_completes_commands_options_models_and_nodes() -> None:
    with desk(**ANSWERS) as here:
        assert in_bash("cortex unl") == ["unload"]
        assert in_bash("cortex load --no-w") == ["--no-wait"]
        assert in_bash("cortex load ", here.url) == ["fast", "org/coder", "qwen3:32b", "qwen3:8b"]
        assert in_bash("cortex load org", here.url) == ["org/coder"]
        assert in_bash("cortex load qwen3:8", here.url) == ["8b"]  # readline has what stands before the colon
        assert in_bash("cortex load org/coder --node be", here.url) == ["beast", "benjy"]
        assert in_bash(f"cortex drain --url {here.url} ben") == ["benjy"]
        assert in_bash("cortex completion f") == ["fish"]


def test_a_gateway_that_cannot_be_asked_is_silence() -> None:
    assert in_bash("cortex load ") == []


def test_zsh_is_offered_models() -> None:
    if not has("zsh"):
        pytest.skip("zsh is not installed")
    driver = 'compdef() { }; source <("$PYTHON" -P -m cortex completion zsh); cortex() { "$PYTHON" -P -m cortex; }\n'
    driver += 'words=(cortex load o); CURRENT=3; service=cortex; _arguments() { print -r -- "$@"; }; _cortex'
    with desk(**ANSWERS) as here:
        assert run(["zsh", "-f", "-c", driver], here.url) == ['*: :(("org/coder"))']


def test_fish_is_offered_models(tmp_path: Path) -> None:
    if not has("fish"):
        pytest.skip("fish is not installed")
    cortex = tmp_path / "cortex"
    cortex.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cortex "$@"\n')
    cortex.chmod(0o755)
    driver = f"set -x HOME {tmp_path}; set -x PATH {tmp_path} $PATH; cortex completion fish | source\n"
    driver += 'complete -C "cortex load o"'
    with desk(**ANSWERS) as here:
        assert run(["fish", "--no-config", "-c", driver], here.url) == ["org/coder"]


def test_the_neurons_words_are_those_of_its_command_line() -> None:
    (command, *options) = [action for action in _parser()._actions if action.dest != "help"]
    known = {*command.choices, "doctor", "--help"} | {option.option_strings[-1] for option in options}
    assert set(NEURON_WORDS) == known


def test_shells_are_completed() -> None:
    assert complete_shell("b") == ["bash"]
