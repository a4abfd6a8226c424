"""Every command of the pages is run as it stands, against a real fleet at other addresses; exceptions have reasons."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.docs import exception
from tests.docs.block import SHELL, Block, Command, blocks, commands, spans
from tests.docs.fleet import Fleet, fleet, node, secret_in
from tests.docs.host import Host
from tests.docs.shell import calls
from tests.docs.start import DAEMON, see, started
from tests.integration.gateway.real_fleet import Neuron

DOCTOR_CODES = (0, 1, 2)
"""What is wrong with the machine that tests run on is no matter of the pages."""

OWN = ("cortex", "cortex-neuron")

KEYED = ("cortex keys", "CORTEX_API_KEY")
"""From the first key on nobody is served without: such a block gets a gateway of its own."""

ASSIGNED = re.compile(r"(?:export +)?((?:\w+=\S+ *)+)(?:#.*)?$")
PLACED = re.compile(r"cd (\S+)$")
ON_A_TERMINAL = re.compile(r"^cortex top(?!.*--once)")
QUIET = re.compile(r"openssl|jq .*select|chmod|mkdir|ln -sf|> \S+$|-m venv")
"""What may do well without a word."""

TESTS = 'make test WORKERS=0 ARGS="-q -p no:cacheprovider tests/unit/kit/test_clock.py"'
"""These run by ``make test`` themselves: of it, a few."""


def is_run(command: Command) -> bool:
    return not any(re.search(rule, command.text) for rule in exception.NOT_RUN)


def to_be_run() -> list[Block]:
    return [block for block in blocks(*SHELL) if any(is_run(command) for command in commands(block))]


def python_to_be_run() -> list[Block]:
    return [block for block in blocks("python") if not any(word in block.text for word in exception.PYTHON_NOT_RUN)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def beast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Neuron, Path]]:
    with node(tmp_path_factory.mktemp("beast")) as it:
        yield it


@pytest.fixture(scope="module")
def shared(host: Host, beast: tuple[Neuron, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("gateway"), host, *beast) as it:
        yield it


@pytest.fixture(scope="module")
def pip(host: Host) -> None:
    host.prepare_to_install()


@pytest.fixture(scope="module")
def opt(pip: None, shared: Fleet) -> None:
    """What the README has installed by pip is there."""
    (block,) = [one for one in blocks(*SHELL) if one.page.name == "README.md" and "venv /opt/cortex" in one.text]
    play(block, shared)


@pytest.mark.parametrize("block", to_be_run(), ids=lambda block: block.name)
def test_every_command_does_what_it_is_said_to(
    block: Block, shared: Fleet, beast: tuple[Neuron, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "/opt/cortex" in block.text:
        request.getfixturevalue("opt")
    if re.search(r"\b(pipx|uv tool) install", block.text):
        request.getfixturevalue("pip")
    if not any(word in block.text for word in KEYED):
        play(block, shared)
        return
    with fleet(tmp_path, shared.host, *beast) as own:
        if "--admin" not in block.text:
            own.make_first_key()
        play(block, own)


def play(block: Block, it: Fleet) -> None:
    """Run a block's commands one by one, each from where the page would begin; daemons stay until all is done."""
    env: dict[str, str] = {"CORTEX_API_KEY": it.key} if it.key else {}
    place = "."
    with contextlib.ExitStack() as running:
        for command in filter(is_run, commands(block)):
            text = re.sub(r"\s+# .*$", "", it.here(command.text), flags=re.MULTILINE)
            assigned, placed = ASSIGNED.match(text), PLACED.match(text)
            if assigned:
                env |= dict(word.split("=", 1) for word in assigned[1].split())
            elif placed:
                place = placed[1]
                assert (it.folder / place).is_dir()
            elif (text, place, *env.items()) not in it.ran:  # else another page says the same
                it.ran.add((text, place, *env.items()))
                if DAEMON.match(text):
                    running.enter_context(started(text, it))
                else:
                    carry_out(command, text, it, env, place)
                if it.key and "CORTEX_API_KEY" in command.block.page.read_text():
                    env["CORTEX_API_KEY"] = it.key


def carry_out(command: Command, text: str, it: Fleet, env: dict[str, str], place: str) -> None:
    """Run a command, of which ``text`` is what it is here; it must do well and say something."""
    called = [words[0].rpartition("/")[2] for words in calls(text)]
    outside = [url for url in re.findall(r"https?://[^\s'\"]+", text) if not it.has(url)]
    assert not outside, f"{command.name} asks {outside}; tests/docs/exception.py says what is not run, and why"
    demand(called)
    if {"cortex", "curl"} & set(called):
        it.settle()
    if ON_A_TERMINAL.match(text):
        assert see(text, it)
        return
    said = it.run(text.replace("make test", TESTS), env, DOCTOR_CODES if "doctor" in text else (0,), place)
    if "--admin" in text:
        it.key = secret_in(said)
    if "-m venv" in text:
        it.host.borrow()
    assert "does not provide the extra" not in said, said
    assert said or QUIET.search(text), f"{command.name} said nothing"


def demand(programs: Iterable[str]) -> None:
    """Skip what needs a program that this host lacks; a failure where CI says that it must be there."""
    there = (*OWN, *exception.STOOD_IN, "cd", "pip")
    missing = [program for program in programs if program not in there and not shutil.which(program)]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"there is no {missing} here")
    if missing:
        pytest.skip(f"there is no {missing} here")


def test_what_pip_has_installed_is_found_without_its_folder(opt: None, shared: Fleet) -> None:
    """And it is what was installed: not this environment's own code."""
    bins = shared.host.root / "usr/local/bin"
    for program in OWN:
        assert shared.run(f"{bins / program} --version", {}).startswith(f"{program} ")
        assert (bins / program).resolve().is_relative_to(shared.host.root / "opt/cortex")
    python = shared.host.root / "opt/cortex/bin/python"
    where = shared.run(f"{python} -c 'import cortex; print(cortex.__file__)'", {})
    assert Path(where.strip()).is_relative_to(shared.host.root / "opt/cortex")


@pytest.mark.parametrize("block", python_to_be_run(), ids=lambda block: block.name)
def test_every_program_runs(block: Block, shared: Fleet, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(shared.here(block.text))
    assert shared.run(f"python {program}", {})


@pytest.mark.parametrize(
    "text", sorted({command.text for command in spans("curl", "source") if " = " not in command.text})
)
def test_what_a_sentence_asks_is_answered(text: str, shared: Fleet) -> None:
    shared.settle()
    assert shared.run(f"{text}{'; complete -p cortex' if 'completion' in text else ''}", {})


SDK = {
    "OPENAI": "from openai import OpenAI; print(OpenAI().models.list().data[0].id)",
    "ANTHROPIC": "from anthropic import Anthropic; print(Anthropic().models.list().data[0].id)",
}


def for_programs() -> set[str]:
    """Return what sentences would have exported for a program that nobody wants to change."""
    return {command.text for command in spans("export") if "…" not in command.text}


@pytest.mark.parametrize("text", sorted(for_programs()))
def test_a_program_is_pointed_at_the_gateway_without_a_change(text: str, shared: Fleet) -> None:
    (maker,) = [name for name in SDK if f"{name}_BASE_URL" in text]
    assert shared.run(f'{text}; python -c "{SDK[maker]}"', {})


def test_nothing_is_written_into_the_system(shared: Fleet) -> None:
    root = shared.host.root
    assert shared.here("cortex version > /etc/x") == "cortex version "
    assert shared.here("cortex version > /etc/cortex/x") == f"cortex version > {root}/etc/cortex/x"
    assert (
        shared.here("sudo tee /etc/cortex/x; /opt/cortex/bin/pip")
        == f"sudo tee {root}/etc/cortex/x; {root}/opt/cortex/bin/pip"
    )
    assert shared.here("cortex version >> ~/x  # so") == "cortex version   # so"
    assert shared.here("cortex status | jq '.a > 1' > here") == "cortex status | jq '.a > 1' > here"
