"""Every command of the pages that can be run here is run, as it stands, against a real fleet at other addresses."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.docs import exception
from tests.docs.block import SHELL, Block, Command, blocks, commands
from tests.docs.fleet import Fleet, fleet, node, secret_in
from tests.docs.shell import calls
from tests.integration.gateway.real_fleet import Neuron

DOCTOR_CODES = (0, 1, 2)
"""What is wrong with the machine that tests run on is no matter of the pages."""

OWN = ("cortex", "cortex-neuron")

KEYED = ("cortex keys", "CORTEX_API_KEY")
"""From the first key on nobody is served without: such a block gets a gateway of its own."""

EXPORT = re.compile(r"export((?: +\w+=\S+)+) *(?:#.*)?$")


def is_run(command: Command) -> bool:
    programs = {words[0].rpartition("/")[2] for words in calls(command.text)}
    skipped = exception.NEVER_RUN | set(exception.CLIENTS)
    return not programs & skipped and not any(re.search(rule, command.text) for rule in exception.NOT_RUN)


def to_be_run() -> list[Block]:
    return [block for block in blocks(*SHELL) if any(is_run(command) for command in commands(block))]


def python_to_be_run() -> list[Block]:
    return [block for block in blocks("python") if not any(word in block.text for word in exception.PYTHON_NOT_RUN)]


@pytest.fixture(scope="module")
def beast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Neuron, Path]]:
    with node(tmp_path_factory.mktemp("beast")) as it:
        yield it


@pytest.fixture(scope="module")
def shared(beast: tuple[Neuron, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("gateway"), *beast) as it:
        yield it


@pytest.mark.parametrize("block", to_be_run(), ids=lambda block: block.name)
def test_every_command_does_what_it_is_said_to(
    block: Block, shared: Fleet, beast: tuple[Neuron, Path], tmp_path: Path
) -> None:
    if not any(word in block.text for word in KEYED):
        play(block, shared)
        return
    with fleet(tmp_path, *beast) as own:
        if "--admin" not in block.text:
            own.make_first_key()
        play(block, own)


def play(block: Block, it: Fleet) -> None:
    """Run a block's commands one by one, each from where the page would begin."""
    env: dict[str, str] = {"CORTEX_API_KEY": it.key} if it.key else {}
    for command in filter(is_run, commands(block)):
        exported = EXPORT.match(command.text)
        if exported:
            env |= dict(word.split("=", 1) for word in it.here(exported[1]).split())
            continue
        text = re.sub(r"\s+# .*$", "", it.here(command.text), flags=re.MULTILINE)
        if (text, *env.items()) not in it.ran:  # else another page says the same
            it.ran.add((text, *env.items()))
            carry_out(command, text, it, env)


def carry_out(command: Command, text: str, it: Fleet, env: dict[str, str]) -> None:
    """Run a command, of which ``text`` is what it is here; it must do well and say something."""
    outside = [url for url in re.findall(r"https?://[^\s'\"]+", text) if not it.has(url)]
    assert not outside, f"{command.name} asks {outside}; tests/docs/exception.py says what is not run, and why"
    demand(words[0] for words in calls(text))
    it.settle()
    said = it.run(text, env, DOCTOR_CODES if "doctor" in text else (0,))
    if "--admin" in text:
        it.key = secret_in(said)
    assert said or re.search(r"openssl|jq .*select", text), f"{command.name} said nothing"


def demand(programs: Iterable[str]) -> None:
    """Skip what needs a program that this host lacks; a failure where CI says that it must be there."""
    missing = [program for program in programs if program not in OWN and not shutil.which(program)]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"there is no {missing} here")
    if missing:
        pytest.skip(f"there is no {missing} here")


@pytest.mark.parametrize("block", python_to_be_run(), ids=lambda block: block.name)
def test_every_program_runs(block: Block, shared: Fleet, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(shared.here(block.text))
    assert shared.run(f"python {program}", {})


def test_nothing_is_written_into_the_system(shared: Fleet) -> None:
    assert shared.here("cortex version > /etc/cortex/x") == "cortex version "
    assert shared.here("cortex version >> ~/x  # so") == "cortex version   # so"
    assert shared.here("cortex status | jq '.a > 1' > here") == "cortex status | jq '.a > 1' > here"
