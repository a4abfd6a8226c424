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
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    _cortex cortex
    printf '%s\\n' "$COMP_LINE" "${COMPREPLY[@]/#/:}"
done
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


def in_bash(*lines: str, url: str = "http://127.0.0.1:1") -> dict[str, list[str]]:
    """Return what bash offers when tab is pressed at the end of each of the lines."""
    offers: dict[str, list[str]] = {}
    for said in run(["bash", "--norc", "-c", BASH_DRIVER, "bash", *lines], url):
        if not said.startswith(":"):
            offers[line := said] = []
        elif said != ":":
            offers[line].append(said[1:])
    return offers


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    if not has(shell):
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    run([shell, "-n", str(path)])


def test_bash_completes_commands_options_models_and_nodes() -> None:
    with desk(**ANSWERS) as here:
        of_a_gateway = {
            "cortex load ": ["fast", "org/coder", "qwen3:32b", "qwen3:8b"],
            "cortex load org": ["org/coder"],
            "cortex load qwen3:8": ["8b"],  # readline has what stands before the colon
            "cortex load org/coder --node be": ["beast", "benjy"],
        }
        assert in_bash(*of_a_gateway, url=here.url) == of_a_gateway
        without_one = {
            "cortex unl": ["unload"],
            "cortex load --no-w": ["--no-wait"],
            f"cortex drain --url {here.url} ben": ["benjy"],
            "cortex completion f": ["fish"],
        }
        assert in_bash(*without_one) == without_one


def test_a_gateway_that_cannot_be_asked_is_silence() -> None:
    assert in_bash("cortex load ") == {"cortex load ": []}


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
