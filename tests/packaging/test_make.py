"""What the workflows call is run as they call it, in a copy of the tree; COPR, the forge and upstream are stand-ins."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.arch.source import ROOT
from tests.arch.test_release import ACCOUNT, a_copr_cli, told
from tests.packaging.gitea import serving
from tests.packaging.rpm.tool import sourced

STAMPS = [f".venv/{name}.stamp" for name in ("run", "dev", "docs", "release")]
CONFIG = f"{ACCOUNT}# expiration date: 2999-01-01\n"
VERSION = "0.2.0"
TAG = f"v{VERSION}"
SAYS = '#!/bin/sh\necho "$(basename "$0") $*" >> told-to-mistralrs\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what releases are made with, of a version that was released, in this environment."""
    for folder in ("packaging/ci", "packaging/rpm", "packaging/mistralrs", ".ci"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "src/cortex").mkdir(parents=True)
    (tmp_path / "src/cortex/__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-12-24\n\n- [A thing](docs/thing.md).\n"
    )
    return tmp_path


def make(tree: Path, *words: str, path: Path | None = None, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a target without installing anything; return its code, and what it said."""
    known = [word for stamp in STAMPS for word in ("-o", stamp)]
    whole = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "GITHUB_"))}
    whole |= {"PATH": f"{path or tree / 'none'}:{os.environ['PATH']}"} | dict(env or {})
    done = subprocess.run(
        ["make", "--no-print-directory", *known, *words],
        cwd=tree,
        env=whole,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_tag_is_held_against_every_place_that_names_a_version(tree: Path) -> None:
    assert make(tree, "versions", env={"TAG": TAG})[0] == 0
    assert make(tree, "versions")[0] == 0
    code, said = make(tree, "versions", env={"TAG": "v0.2.1"})
    assert code != 0
    assert "these do not name one version" in said


def test_the_notes_of_a_tag_are_shown(tree: Path) -> None:
    assert make(tree, "notes", env={"TAG": TAG}) == (0, "- [A thing](docs/thing.md).\n")
    assert make(tree, "notes", env={"TAG": "v9.9.9"})[0] != 0


def test_source_packages_are_handed_to_copr(tree: Path) -> None:
    folder = a_copr_cli(tree, {})
    for name in ("dist/cortex-0.2.0-1.src.rpm", "dist/mistralrs/mistralrs-cuda12-server-1-1.src.rpm"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    assert make(tree, "copr", path=folder, env={"COPR_CONFIG": CONFIG})[0] == 0
    words = ("copr", "SRPMS=dist/mistralrs/*.src.rpm")
    assert make(tree, *words, path=folder, env={"COPR_CONFIG": CONFIG})[0] == 0
    assert [line[-1] for line in told(folder)] == [
        "dist/cortex-0.2.0-1.src.rpm",
        "dist/mistralrs/mistralrs-cuda12-server-1-1.src.rpm",
    ]
    assert make(tree, "copr", path=folder)[0] != 0, "without an account"


def test_the_token_is_looked_at(tree: Path) -> None:
    folder = a_copr_cli(tree, {})
    assert make(tree, "token", path=folder, env={"COPR_CONFIG": CONFIG})[0] == 0
    assert told(folder) == [["0o600", True, "whoami"]]
    assert make(tree, "token", path=folder, env={"COPR_CONFIG": f"{ACCOUNT}# expiration date: 2020-01-01\n"})[0] != 0


def test_a_release_has_its_notes_with_links_to_the_tag_and_its_package(tree: Path) -> None:
    (tree / "dist").mkdir()
    (tree / "dist/cortex-0.2.0-1.src.rpm").write_bytes(b"package")
    with serving() as gitea:
        env = gitea.env() | {"TAG": TAG, "GITHUB_SERVER_URL": "https://forge.example"}
        code, said = make(tree, "publish", env=env)
        assert code == 0, said
        release = gitea.releases[TAG]
    assert release["body"] == f"- [A thing](https://forge.example/me/cortex/src/tag/{TAG}/docs/thing.md).\n"
    assert release["assets"] == [{"name": "cortex-0.2.0-1.src.rpm"}]


def test_both_flavours_of_mistralrs_are_packaged_of_the_version_in_the_spec(tree: Path) -> None:
    for name in ("make-sources", "make-srpm"):
        (tree / "packaging/mistralrs" / name).write_text(SAYS)
    spec = (tree / "packaging/mistralrs/mistralrs-cuda.spec").read_text()
    (version,) = [line.split()[1] for line in spec.splitlines() if line.startswith("Version:")]
    code, said = make(tree, "mistralrs")
    assert code == 0, said
    assert (tree / "told-to-mistralrs").read_text().splitlines() == [
        f"make-sources {version} dist/mistralrs",
        *(f"make-srpm {flavour} dist/mistralrs dist/mistralrs" for flavour in (12, 13)),
    ]


@pytest.mark.parametrize(
    ("target", "does"),
    [
        ("rpm", "packaging/rpm/build.py rpm "),
        ("srpm", "packaging/rpm/build.py srpm "),
        ("rpm-test", "pytest -q tests/packaging/rpm "),
        ("fedora-test", "pytest -q tests/unit "),
    ],
)
def test_packages_are_made_and_all_their_tests_are_run(tree: Path, target: str, does: str) -> None:
    code, said = make(tree, "--dry-run", target)
    assert code == 0
    assert does in f"{said.rstrip()} "


def test_the_libraries_of_fedora_are_those_that_packages_are_installed_against(tree: Path) -> None:
    _, said = make(tree, "--dry-run", "fedora-test")
    (line,) = [line for line in said.splitlines() if line.startswith("sed ")]
    (tree / "build/fedora43").mkdir(parents=True)
    subprocess.run(line, shell=True, cwd=tree, check=True)
    named = (tree / "build/fedora43/constraints").read_text().split()
    wanted = [provided for provided, _ in sourced("fedora43.provides") if provided.startswith("python3.14dist(")]
    assert named == [re.sub(r"python3\.14dist\(([\w-]+)(\[\w+\])?\) = ", r"\1==", one) for one in wanted]


ASKED = '#!{python}\nimport json, sys\nopen({file!r}, "a").write(json.dumps(sys.argv[1:]) + chr(10))\n'


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ((), {"make", "python3", "python3-venv", "libgomp1"}),
        (("package",), {"make", "python3", "python3-venv", "libgomp1", "rpm"}),
        (("engine",), {"make", "python3", "python3-venv", "libgomp1", "rpm", "xz-utils", "rustup"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_job_installs_what_its_targets_need(word: tuple[str, ...], wanted: set[str], tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    for name, text in (
        ("apt-get", ASKED.format(python=sys.executable, file=str(asked))),
        ("sudo", '#!/bin/sh\nshift\nexec "$@"\n'),
        ("rustup", "#!/bin/sh\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([ROOT / ".ci/install", *word], env=env, check=True)
    update, install = [json.loads(line) for line in asked.read_text().splitlines()]
    assert update[0] == "update"
    assert {name for name in install[1:] if not name.startswith("-")} == wanted
