"""Everything in the pages that is to be copied can be read: by the shell, by our parsers, by our loaders."""

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml
from tests.arch.source import ROOT, relative, tree
from tests.docs import exception
from tests.docs.block import PAGES, SHELL, Block, Command, blocks, blocks_of, commands, spans
from tests.docs.own import complaint, unknown
from tests.docs.shell import calls

from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import GatewaySettings, load_gateway_settings
from cortex.neuron.settings import load_neuron_settings

OWN = ("cortex", "cortex-neuron")
RUN = (*OWN, "cd", "chmod", "curl", "jq", "ln", "make", "mkdir", "openssl", "pip", "python3", "tee")
"""Programs that are run in tests as they are."""

READ = (*SHELL, "toml", "json", "yaml", "ini", "python", "js", "promql")


def name_of(found: Block | Command) -> str:
    return found.name


@pytest.mark.parametrize("block", blocks(*SHELL), ids=name_of)
def test_every_command_calls_programs_that_are_known_with_options_that_there_are(block: Block) -> None:
    for command in commands(block):
        for words in calls(command.text):
            program = words[0].rpartition("/")[2]
            known = program in RUN or program in exception.STOOD_IN
            assert known, f"{command.name}: {program} is unknown; tests/docs/exception.py says what is not run, and why"
            if program in OWN:
                assert complaint(words) == "", command.text
            if program == "make":
                assert told_by_make(command.text) == "", command.text


def told_by_make(text: str) -> str:
    """Return what make, or the program that a target hands ``ARGS`` to, has against a command line."""
    for words in calls(text):
        run = subprocess.run([*words[:1], "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        given = [word.removeprefix("ARGS=").split() for word in words if word.startswith("ARGS=")]
        if run.returncode or (given and words[1] == "run"):
            return run.stderr if run.returncode else complaint(["cortex", "up", *given[0]])
    return ""


def test_every_command_in_a_sentence_exists_with_its_options() -> None:
    found = list(spans(*OWN))
    assert len(found) > 50
    assert {command.name: unknown(command.text) for command in found if unknown(command.text)} == {}


@pytest.mark.parametrize("block", blocks("toml"), ids=name_of)
def test_example_files_can_be_loaded(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(block.text)
    keys = set(tomllib.loads(block.text))
    if keys <= {"models", "groups"}:
        assert read_catalogue(file)
    elif keys <= {field.encode_name for field in msgspec.structs.fields(GatewaySettings)}:
        assert load_gateway_settings(file, {}).neurons
    else:
        assert load_neuron_settings(file, {}).harnesses


@pytest.mark.parametrize("block", blocks("json"), ids=name_of)
def test_json_can_be_read(block: Block) -> None:
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        assert [json.loads(line) for line in block.text.splitlines()], "one of them on each line"


@pytest.mark.parametrize("block", blocks("yaml", "yml"), ids=name_of)
def test_yaml_can_be_read(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", blocks("ini"), ids=name_of)
def test_files_of_others_can_be_read(block: Block) -> None:
    """What is called ``ini`` is TOML of another program, which is coloured alike, or a unit of systemd."""
    try:
        assert tomllib.loads(block.text)
    except tomllib.TOMLDecodeError:
        units = configparser.ConfigParser(strict=False, interpolation=None)
        units.read_string(block.text)
        assert units.sections()


@pytest.mark.parametrize("block", blocks("python"), ids=name_of)
def test_python_can_be_compiled(block: Block) -> None:
    compile(block.text, block.name, "exec")


@pytest.mark.parametrize("block", blocks("promql"), ids=name_of)
def test_queries_can_be_read_by_prometheus(block: Block, tmp_path: Path) -> None:
    """promtool reads rules only: each line is made one."""
    lines = [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")]
    rules = [{"record": f"page:query{number}", "expr": line} for number, line in enumerate(lines)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": rules}]}))
    if os.environ.get("CI") == "true":
        assert shutil.which("promtool"), "CI installs it"
    read_by("promtool", "check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize("block", blocks("js"), ids=name_of)
def test_javascript_can_be_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "page.mjs").write_text(block.text)
    read_by("node", "--check", str(tmp_path / "page.mjs"))


def read_by(program: str, *words: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"there is no {program} here")
    run = subprocess.run([program, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_block_is_of_a_language_that_is_read_or_has_a_reason_not_to_be() -> None:
    said = {block.language for block in blocks()}
    assert said - {*READ, "yml"} == set(exception.NOT_READ), "none too many, none too few"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_block_says_its_language(page: Path) -> None:
    """Without one a command is not seen by these tests, and not coloured for a reader."""
    fences = re.findall(r"^ *(?:```|~~~).*$", page.read_text(), re.MULTILINE)
    found = list(blocks_of(page))
    assert [block.name for block in found if not block.language] == []
    assert len(fences) == 2 * len(found), "one is not ended, or has more than a language behind its ticks"


def shown_elsewhere() -> list[str]:
    entries = [*exception.STOOD_IN.values(), *exception.NOT_RUN.values(), *exception.PYTHON_NOT_RUN.values()]
    assert all(entry.why and entry.shown_by for entry in entries)
    return sorted({name for entry in entries for name in entry.shown_by})


@pytest.mark.parametrize("name", shown_elsewhere())
def test_what_is_not_run_here_is_shown_by_something_that_there_is(name: str) -> None:
    assert is_there(name)


def is_there(name: str) -> bool:
    """Tell whether a file has a test, or a class of them, or a text where it is no Python."""
    file, _, wanted = name.partition("::")
    path = ROOT / file
    if path.suffix != ".py":
        return wanted in path.read_text()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return path.is_file() and any(isinstance(one, kinds) and one.name == wanted for one in tree(path).body)


def test_no_exception_is_stale() -> None:
    lines = [command.text for block in blocks(*SHELL) for command in commands(block)]
    assert [rule for rule in exception.NOT_RUN if not any(re.search(rule, line) for line in lines)] == []
    programs = {words[0].rpartition("/")[2] for line in lines for words in calls(line)}
    said = programs | {command.text.split()[0] for command in spans(*exception.STOOD_IN)}
    assert set(exception.STOOD_IN) - {"sudo"} <= said, "what is behind sudo is taken apart as well"
    assert set(RUN) <= programs
    texts = [block.text for block in blocks("python")]
    assert [word for word in exception.PYTHON_NOT_RUN if not any(word in text for text in texts)] == []


def test_what_the_shell_would_wait_for_is_one_command() -> None:
    text = "for n in a b; do\n  cortex drain $n\ndone\ncat <<END\n$ x\nEND\nls \\\n  -l | wc  # so\n"
    block = Block(ROOT / "README.md", 1, "sh", text)
    assert [command.text.splitlines()[0] for command in commands(block)] == ["for n in a b; do", "cat <<END", "ls \\"]
    assert list(calls("A=1 sudo -u cortex cortex status | jq '.a | .b' > out && make -n x")) == [
        ["cortex", "status"],
        ["jq", ".a | .b"],
        ["make", "-n", "x"],
    ]


def test_mistakes_are_found() -> None:
    assert not is_there("tests/docs/test_read.py::test_of_no_such_name")
    assert not is_there("tests/docs/test_of_no_such_file.py::test_json_can_be_read")
    assert not is_there(".ci/run::make nothing")
    assert "No such option" in complaint(["cortex", "drain", "beast", "--nowhere"])
    assert "No such command" in complaint(["cortex", "darin", "beast"])
    assert "Missing argument" in complaint(["cortex", "drain"])
    assert "unrecognized" in complaint(["/opt/cortex/bin/cortex", "serve", "--port", "1"])
    assert "invalid choice" in complaint(["cortex-neuron", "chekc"])
    assert unknown("cortex darin NODE --x") == ["darin", "--x"]
    assert shutil.which("make") is None or "No rule" in told_by_make("make nothing-of-this-name")
    assert "No such option" in told_by_make('make run ARGS="--modl x"')
