"""Package managers: what is asked for is what is built here, or what CI installs; of pipx and uv the work is done."""

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.arch.source import ROOT

OF_OTHERS = {"akmod-nvidia"}
"""Comes from a repository for NVIDIA's driver."""

DOWNLOADED = {"git"}
"""What whoever has this repository has by then; CI installs all the rest that pages ask for."""

PROGRAMS = ("cortex", "cortex-neuron")


def spec_packages() -> set[str]:
    """Return the names of the packages that the specs make."""
    text = (ROOT / "packaging" / "rpm" / "cortex.spec").read_text()
    own = {"cortex", *(f"cortex-{name}" for name in re.findall(r"^%package +(\w+)", text, re.MULTILINE))}
    text = (ROOT / "packaging" / "mistralrs" / "mistralrs-cuda.spec").read_text()
    assert "Name:           mistralrs-cuda%{flavour}-server" in text
    return own | {f"mistralrs-cuda{flavour}-server" for flavour in (12, 13)}


def project() -> str:
    (found,) = re.findall(r'^PROJECT = "(.*)"$', (ROOT / "packaging" / "ci" / "copr.py").read_text(), re.MULTILINE)
    return str(found)


def installed_by_ci(manager: str) -> set[str]:
    """Return what .ci/run installs by ``apt-get`` or ``dnf``."""
    text = (ROOT / ".ci" / "run").read_text().replace("\\\n", " ")
    lines = re.findall(rf"\b{manager} install (.*)$", text, re.MULTILINE)
    return {word for line in lines for word in line.split() if re.fullmatch(r"[a-z][\w.-]*", word)}


def apt(words: list[str]) -> None:
    verb, *names = words
    assert verb == "install", f"{verb} is unknown"
    known(names, installed_by_ci("apt-get") | DOWNLOADED)


def dnf(words: list[str]) -> None:
    if words[:2] == ["copr", "enable"]:
        assert words[2:] == [project()], f"packages are built in {project()}"
        print("would enable", project())
        return
    verb, *names = words
    assert verb in ("install", "upgrade", "downgrade"), f"{verb} is unknown"
    known(names, spec_packages() | (installed_by_ci("dnf") | DOWNLOADED | OF_OTHERS if verb == "install" else set()))
    if verb == "downgrade":
        assert "cortex-common" in names, "both want the code of their own version, so that it has to go back with them"


def known(names: list[str], packages: set[str]) -> None:
    assert names, "nothing is named"
    assert set(names) <= packages, f"{set(names) - packages} is unknown"
    print("would take", *names)


def copr_cli(words: list[str]) -> None:
    verb, place, *rest = words
    if verb == "buildpypi":
        assert (place, rest[0]) == (project(), "--packagename"), f"packages are built in {project()}"
        return
    options = {"edit-chroot": {"--repos"}, "modify": {"--runtime-repo-dependency"}}[verb]
    if verb == "edit-chroot":
        place, _, chroot = place.rpartition("/")
        built = (ROOT / "packaging" / "ci" / "copr.py").read_text()
        assert f'"{chroot}"' in built, f"nothing is built for {chroot}"
    assert place == project(), f"packages are built in {project()}"
    assert {word for word in rest if word.startswith("-")} == options
    assert all(re.fullmatch(r"https://\S+/x86_64", url) for word in rest if word[0] != "-" for url in word.split())
    print("would", verb)


def pipx(words: list[str]) -> None:
    verb, *rest = words
    assert verb == "install", f"{verb} is unknown"
    install([word for word in rest if word != "--force"])


def uv(words: list[str]) -> None:
    assert words[:2] == ["tool", "install"], f"{words[:2]} is unknown"
    install(words[2:])


def install(words: list[str]) -> None:
    """Do what both do: pip, in an environment of its own, and its programs on PATH; they are run once."""
    (wanted,) = words
    folder = Path(tempfile.mkdtemp(dir=os.environ["HOME"]))
    venv.create(folder, symlinks=True)
    borrow(folder, os.environ["STAND_IN_DEPENDENCIES"])
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", wanted], check=True)
    for program in PROGRAMS:
        subprocess.run([folder / "bin" / program, "--version"], check=True)


def borrow(folder: Path, dependencies: str) -> None:
    """Let an environment have the dependencies of the tests' own, below what is installed into it."""
    for site in folder.glob("lib/python*/site-packages"):
        (site / "borrowed.pth").write_text(dependencies + "\n")
