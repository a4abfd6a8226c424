"""Commands that stand in a sentence: of others' programs, of pip, of Python. Those of ours: test_read."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from tests.arch.source import ROOT, SRC
from tests.docs.block import PAGES, Command, spans
from tests.docs.fleet import Fleet, copy_of_packaging
from tests.docs.host import Host
from tests.integration.gateway.real_fleet import Neuron

PROGRAMS = ("apt", "copr-cli", "dnf", "docker", "firewall-cmd", "journalctl", "kubectl", "systemctl")

PIECE = re.compile(r"^\S+ (?:\S+|apply -k)$|-p err$| UNIT$|docker run --gpus all$")
"""A verb without that of which it is said; a word to be replaced."""

EXTRA = re.compile(r"(?:cortex-gateway|['\"]\.)\[([\w,]+)\]")
SCRIPT = re.compile(r"\bpython3? (?:-m (?P<module>[\w.]+)|(?P<file>\w[\w/.-]*\.py))")

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def whole() -> list[Command]:
    return [command for command in spans(*PROGRAMS) if not PIECE.search(command.text)]


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A place to run commands, without a gateway that answers."""
    folder = tmp_path_factory.mktemp("folder")
    copy_of_packaging(folder)
    (folder / "cortex.toml").write_text('[[neurons]]\nname = "beast"\nendpoint = "http://127.0.0.1:9"\n')
    return Fleet(folder, Host(tmp_path_factory.mktemp("root")), Neuron("http://127.0.0.1:9"), folder / "x.gguf", 9, 9)


def test_there_are_some() -> None:
    assert len(whole()) > 25


@pytest.mark.parametrize("text", sorted({command.text for command in whole()}))
def test_a_command_would_do_on_a_real_host(text: str, it: Fleet) -> None:
    it.run(text, {})


def asked_for(text: str) -> set[str]:
    return {name for found in EXTRA.findall(text) for name in found.split(",")}


def test_every_extra_that_is_asked_for_is_there() -> None:
    found = {name for page in PAGES for name in asked_for(page.read_text())}
    assert found == EXTRAS, "none that is not there, and none of which nobody tells"
    assert asked_for("pip install '.[fats,store]' \"cortex-gateway[x]\"") == {"fats", "store", "x"}


def scripts() -> Iterator[tuple[str, bool]]:
    """Yield what pages run with Python, and whether it is there."""
    for page in PAGES:
        for found in SCRIPT.finditer(page.read_text()):
            if found["file"]:
                yield found["file"], (ROOT / found["file"]).is_file()
            elif found["module"] != "venv":
                path = found["module"].replace(".", "/")
                places = [
                    top / f"{path}{end}" for top in (ROOT, SRC) for end in (".py", "/__main__.py", "/__init__.py")
                ]
                yield found["module"], any(place.is_file() for place in places)


def test_every_script_that_is_named_is_there() -> None:
    found = dict(scripts())
    assert len(found) > 4
    assert [name for name, is_there in found.items() if not is_there] == []
