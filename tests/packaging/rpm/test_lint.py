"""rpmlint has nothing to say of the specs and of what is built from them, but for what rpmlint.toml names."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.packaging.rpm.conftest import Built
from tests.packaging.rpm.tool import HERE

CONFIG = HERE / "rpmlint.toml"
FILTERS: list[str] = tomllib.loads(CONFIG.read_text())["Filters"]
OF_SOME_VERSIONS = {"W: no-manual-page-for-binary"}
"""Filters that hide something from an older rpmlint only."""
MISTRALRS = HERE.parent / "mistralrs" / "mistralrs-cuda.spec"
MESSAGE = re.compile(r"^\S+: [EWI]: .*$", re.MULTILINE)


@pytest.fixture(scope="session")
def linted(built: Built, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The binary packages, and both specs as they are in source packages."""
    spec = tmp_path_factory.mktemp("lint") / "cortex.spec"
    text = (HERE / "cortex.spec").read_text()
    spec.write_text(text.replace("@VERSION@", built.version).replace("@DATE@", "Thu Nov 26 2026"))
    return [*(package.file for package in built.now.values()), spec, MISTRALRS]


def messages(config: Path, files: list[Path]) -> list[str]:
    done = subprocess.run(["rpmlint", "-c", config, *files], capture_output=True, text=True, check=False)
    assert f"{len(files) - 2} packages and 2 specfiles checked" in done.stdout, done.stdout + done.stderr
    return MESSAGE.findall(done.stdout)


def test_rpmlint_finds_nothing_that_has_no_reason(linted: list[Path]) -> None:
    assert messages(CONFIG, linted) == []


def test_every_filter_hides_something(linted: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "rpmlint.toml"
    bare.write_text(CONFIG.read_text().partition("Filters = [")[0] + "Filters = []\n")
    found = messages(bare, linted)
    idle = {one for one in FILTERS if not any(re.search(one, line) for line in found)}
    assert idle <= OF_SOME_VERSIONS


@pytest.mark.parametrize("name", ["cortex", "cortex-neuron"])
def test_every_program_has_its_page(built: Built, name: str) -> None:
    paths = built.now[name].entries()
    programs = [path.rpartition("/")[2] for path in paths if path.startswith("/usr/bin/")]
    pages = {path.rpartition("/")[2].split(".")[0] for path in paths if re.match(r"/usr/share/man/man[18]/", path)}
    assert programs
    assert set(programs) <= pages


def test_nothing_is_where_only_the_host_puts_files(built: Built) -> None:
    for package in built.now.values():
        told = [path for path in package.entries() if path.startswith(("/usr/local/", "/opt/", "/var/", "/home/"))]
        assert told == []


def test_every_filter_has_its_reason() -> None:
    lines = CONFIG.read_text().partition("Filters = [\n")[2].splitlines()
    assert lines[0].lstrip().startswith("#")
    assert len(FILTERS) < 15
