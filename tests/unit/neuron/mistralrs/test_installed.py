"""What an installed mistral.rs says of itself, and what the name of its package tells."""

import asyncio
from pathlib import Path

import pytest

from cortex.neuron.mistralrs.installed import Installed, find_installed, find_program
from cortex.neuron.settings import HarnessEntry


def a_program(folder: Path, version: str = "echo mistralrs 0.9.5", doctor: str = "exit 1") -> Path:
    file = folder / "mistralrs"
    file.write_text(f'#!/bin/sh\ncase "$1" in --version) {version};; doctor) {doctor};; esac\n')
    file.chmod(0o755)
    return file


def installed(entry: HarnessEntry, path: Path) -> Installed:
    return asyncio.run(find_installed(entry, {"PATH": f"{path}:/usr/bin:/bin"}))


def an_entry(**more: object) -> HarnessEntry:
    return HarnessEntry(name="mistralrs", **more)  # type: ignore[arg-type]


def a_report(build: str) -> str:
    """Return a shell command that prints a report as the program does, with what it logs before."""
    return f'echo \'INFO starting\'; echo \'{{"system": {{"os": "linux", "build": {build}}}, "checks": []}}\''


@pytest.mark.parametrize(
    ("doctor", "cuda"),
    [
        (a_report('{"version": "0.9.5", "cuda": true, "cuda_toolkit_version": "13.0"}'), "13.0"),
        (a_report('{"version": "0.9.5", "cuda": false}'), None),
        ("echo no report", None),
        ("exit 1", None),
    ],
    ids=["built for CUDA", "without", "no report", "it fails"],
)
def test_the_program_says_what_it_was_built_for(tmp_path: Path, doctor: str, cuda: str | None) -> None:
    a_program(tmp_path, doctor=doctor)
    assert installed(an_entry(), tmp_path) == Installed(version="0.9.5", cuda=cuda)


def test_what_is_known_without_its_report_is_not_asked_for(tmp_path: Path) -> None:
    a_program(tmp_path, doctor=f"touch {tmp_path}/asked")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert installed(an_entry(package="mistralrs-cuda12-server"), tmp_path).cuda == "12"
    assert asyncio.run(find_installed(an_entry(), env, "13.1")).cuda == "13.1"
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("package", "cuda", "capability"),
    [
        ("mistralrs-cuda12-server", "12", "8.9"),
        ("mistralrs-cuda13-server", "13", "12.0a"),
        ("somebodys-mistralrs-cuda13", "13", None),
        ("mistralrs", None, None),
        (None, None, None),
    ],
)
def test_without_the_program_the_package_tells(
    tmp_path: Path, package: str | None, cuda: str | None, capability: str | None
) -> None:
    assert installed(an_entry(package=package), tmp_path) == Installed(cuda=cuda, capability=capability)


def test_where_both_builds_are_installed_the_one_that_alternatives_chose_counts(tmp_path: Path) -> None:
    for flavour in ("12", "13"):
        folder = tmp_path / "libexec" / "mistralrs" / f"cuda{flavour}"
        folder.mkdir(parents=True)
        a_program(folder)
    chosen = tmp_path / "mistralrs"
    for flavour, capability in (("12", "8.9"), ("13", "12.0a")):
        chosen.unlink(missing_ok=True)
        chosen.symlink_to(tmp_path / "libexec" / "mistralrs" / f"cuda{flavour}" / "mistralrs")
        found = installed(an_entry(package="mistralrs-cuda13-server"), tmp_path)
        assert found == Installed(version="0.9.5", cuda=flavour, capability=capability)


def test_a_server_of_another_cuda_is_not_of_the_package_that_is_installed(tmp_path: Path) -> None:
    entry, env = an_entry(package="mistralrs-cuda12-server"), {"PATH": str(tmp_path)}
    assert asyncio.run(find_installed(entry, env, "12.9")).capability == "8.9"
    assert asyncio.run(find_installed(entry, env, "13.2")) == Installed(cuda="13.2")


def test_a_program_that_says_nothing_of_use_is_no_version(tmp_path: Path) -> None:
    a_program(tmp_path, version="echo hello")
    assert installed(an_entry(), tmp_path) == Installed()


def test_the_entry_says_which_program(tmp_path: Path) -> None:
    program = str(a_program(tmp_path))
    env = {"PATH": str(tmp_path)}
    assert find_program(an_entry(), env) == program
    assert find_program(an_entry(binary=program), {}) == program
    assert find_program(an_entry(binary="/nowhere/mistralrs"), env) is None
    assert find_program(an_entry(binary="sub/mistralrs"), env) is None
    assert find_program(an_entry(binary="other"), env) is None
