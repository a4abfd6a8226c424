"""Runs the programs that make, read and install packages; asks packages what is in them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.arch.source import ROOT

HERE = ROOT / "packaging" / "rpm"
NEEDED = {
    "rpmbuild": "rpm",
    "dnf": "dnf",
    "createrepo_c": "createrepo-c",
    "rpm2cpio": "rpm",
    "cpio": "cpio",
    "mandoc": "mandoc",
    "xmllint": "libxml2-utils",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "promtool": "prometheus",
    "node": "nodejs",
    "rpmlint": "rpmlint",
    "zsh": "zsh",
    "fish": "fish",
}
"""Programs, and Debian's packages that have them; besides them python3-firewall and python3-packaging are needed."""


AS_ROOT = () if os.getuid() == 0 else ("unshare", "--map-root-user")
"""Before programs that only root may run, though here they change nothing but files of ours."""


def need_tools() -> None:
    """Skip where programs are missing; fail where CI says that they must be there."""
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    missing += [f"python3-{name}" for name in ("firewall", "packaging") if not _system_python_has(name)]
    if not missing:
        return
    words = f"not installed: {' '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def _system_python_has(module: str) -> bool:
    return (
        subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
    )


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, code: int = 0) -> str:
    """Run a program; return what it said on both ways. It must end with ``code``."""
    whole = os.environ | {"LC_ALL": "C.UTF-8"} | dict(env or {})
    done = subprocess.run(
        [str(word) for word in command],
        env=whole,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Entry:
    """A file in a package: ``mode`` as ``ls`` shows it, ``flags`` of rpm (c: configuration, n: noreplace, d, l)."""

    mode: str
    owner: str
    flags: str
    path: str


@dataclass(frozen=True)
class Package:
    file: Path

    def entries(self) -> dict[str, Entry]:
        """Return the files of the package by their paths."""
        form = "[%{FILEMODES:perms}|%{FILEUSERNAME}:%{FILEGROUPNAME}|%{FILEFLAGS:fflags}|%{FILENAMES}\n]"
        rows = (Entry(*line.split("|")) for line in self.ask("--qf", form).splitlines())
        return {row.path: row for row in rows}

    def lines(self, *options: str) -> list[str]:
        return [line for line in self.ask(*options).splitlines() if not line.startswith("rpmlib(")]

    def ask(self, *options: str) -> str:
        return run("rpm", "-qp", "--nosignature", *options, self.file)


@dataclass(frozen=True)
class Dnf:
    """dnf with packages from one folder only, installing below ``root`` without running scriptlets."""

    work: Path
    root: Path

    def __call__(self, *words: str, code: int = 0) -> str:
        shutil.rmtree(self.work / "cache", ignore_errors=True)  # it takes a repository of the same second for the same
        repos = [path for path in sorted(self.work.glob("repo-*")) if (path / "repodata").exists()]
        options = [f"--repofrompath={path.name},file://{path}" for path in repos]
        return run(
            *AS_ROOT,
            "dnf",
            "-y",
            "--disableplugin=*",
            "--setopt=reposdir=/dev/null",
            *options,
            *(f"--repo={path.name}" for path in repos),
            "--nogpgcheck",
            "--setopt=tsflags=noscripts",
            f"--setopt=cachedir={self.work}/cache",
            "--setopt=install_weak_deps=False",
            "--releasever=43",
            f"--installroot={self.root}",
            *words,
            env={"HOME": str(self.work)},
            code=code,
        )


def rpm_in(root: Path, *words: str) -> str:
    """Ask the database of packages below ``root``; Debian's rpm keeps it in a folder named after $HOME."""
    return run(*AS_ROOT, "rpm", "--root", root, *words, env={"HOME": str(root.parent)})


def repository(folder: Path, *packages: Path) -> None:
    """Make a repository of some packages."""
    folder.mkdir(exist_ok=True)
    for package in packages:
        shutil.copy2(package, folder)
    run("createrepo_c", "-q", folder)


STUB = """\
Name: {name}
Version: 1
Release: 1
Summary: Stands for packages that are elsewhere
License: Apache-2.0
BuildArch: noarch
{provides}
%description
It provides what {name} is known to have, and has nothing.
%files
"""


def stub(folder: Path, name: str, provides: list[str]) -> Path:
    """Make a package that has nothing and provides what a list names."""
    spec = folder / f"{name}.spec"
    lines = "\n".join(f"Provides: {line}" for line in provides)
    spec.write_text(STUB.format(name=name, provides=lines))
    run("rpmbuild", "--define", f"_topdir {folder}", "-bb", spec)
    return folder / "RPMS" / "noarch" / f"{name}-1-1.noarch.rpm"


def listed(name: str) -> list[str]:
    """Return what a list of ``packaging/rpm/ci`` names. What is of Python 3.14 is also of Fedora's Python 3."""
    lines = [provided for provided, _ in sourced(name)]
    return lines + [line.replace("python3.14dist(", "python3dist(") for line in lines if "python3.14dist(" in line]


def sourced(name: str) -> list[tuple[str, str]]:
    """Return the lines of a list of ``packaging/rpm/ci``: what is provided, and where that was seen."""
    lines = [line for line in (HERE / "ci" / name).read_text().splitlines() if line and not line.startswith("#")]
    return [(provided.strip(), source.strip()) for provided, _, source in (line.partition("#") for line in lines)]
