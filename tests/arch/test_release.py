"""The small programs of a release: one version everywhere, its notes, COPR's account, the pin of mistral.rs."""

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.arch.source import ROOT

CI = ROOT / "packaging" / "ci"


def program(name: str) -> ModuleType:
    """Return a script as a module, under a name that meets no other."""
    spec = importlib.util.spec_from_file_location(f"packaging_ci_{name}", CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changelog, version, copr, mistralrs_tag = map(program, ("changelog", "version", "copr", "mistralrs_tag"))

CHANGELOG = """# Changelog

## [Unreleased]

### Added

- What is not out yet.

## [0.2.0] - 2026-12-24

### Added

- A new thing: [how](docs/thing.md), [why](https://example.org/why), [where](#here).

## [0.1.0] - 2026-12-01

- The first.
"""


def test_notes_are_the_section_of_the_version() -> None:
    assert changelog.notes(CHANGELOG, "0.1.0") == "- The first.\n"
    assert changelog.notes(CHANGELOG, "0.2.0").startswith("### Added\n\n- A new thing")
    assert changelog.released(CHANGELOG) == ["0.2.0", "0.1.0"]


def test_links_to_files_lead_to_the_files_of_that_version() -> None:
    notes = changelog.notes(CHANGELOG, "0.2.0", "https://forge.example/a/b/src/tag/v0.2.0")
    assert "[how](https://forge.example/a/b/src/tag/v0.2.0/docs/thing.md)" in notes
    assert "[why](https://example.org/why), [where](#here)" in notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHANGELOG, "no section [0.3.0]; released so far: 0.2.0, 0.1.0"),
        ("## [0.3.0]\n\n- Something.\n", "has no date"),
        ("## [0.3.0] - 2026-12-31\n\n### Added\n\n## [0.2.0] - 2026-12-01\n- x\n", "says nothing"),
        ("", "released so far: none"),
    ],
    ids=["no section", "no date", "empty", "nothing at all"],
)
def test_without_notes_there_is_no_release(text: str, words: str) -> None:
    with pytest.raises(LookupError) as caught:
        changelog.notes(text, "0.3.0")
    assert words in str(caught.value)


def a_repository(root: Path, code: str = "0.2.0", log: str = "0.2.0", spec: str = "@VERSION@") -> Path:
    for name, text in (
        ("src/cortex/__init__.py", f'"""cortex."""\n\n__version__ = "{code}"\n'),
        ("CHANGELOG.md", f"## [Unreleased]\n\n## [{log}] - 2026-12-24\n\n- x\n"),
        ("packaging/rpm/cortex.spec", f"Name: cortex\nVersion:        {spec}\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("names", "tag", "agree"),
    [
        ({}, "v0.2.0", True),
        ({}, None, True),
        ({"spec": "0.2.0"}, "v0.2.0", True),
        ({"spec": "0.1.9"}, "v0.2.0", False),
        ({"code": "0.3.0"}, "v0.2.0", False),
        ({"log": "0.1.0"}, "v0.2.0", False),
        ({}, "v0.2.1", False),
        ({}, "0.2.0", False),
        ({"code": "", "log": "Unreleased", "spec": ""}, None, False),
        ({"code": "0.2.0.dev1", "log": "0.2.0.dev1"}, None, False),
    ],
)
def test_a_release_has_one_version(tmp_path: Path, names: dict[str, str], tag: str | None, agree: bool) -> None:
    found = version.named(a_repository(tmp_path, **names), tag)
    assert (version.disagreement(found) is None) is agree


def test_who_disagrees_is_told(tmp_path: Path) -> None:
    wrong = version.disagreement(version.named(a_repository(tmp_path, log="0.1.0"), "0.2.0"))
    assert "CHANGELOG.md               0.1.0" in wrong
    assert "tag 0.2.0                  no version" in wrong


def test_the_repositorys_own_version_is_found_everywhere() -> None:
    found = version.named(ROOT, None)
    assert found["src/cortex/__init__.py"] == found["packaging/rpm/cortex.spec"] != ""


TODAY = datetime.date(2026, 11, 26)
ACCOUNT = "[copr-cli]\nlogin = a\nusername = b\ntoken = secret-word\ncopr_url = https://copr.example\n"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (f"{ACCOUNT}# expiration date: 2027-05-25\n", None),
        (f"{ACCOUNT}# expiration date: 2026-12-26\n", None),
        (f"{ACCOUNT}# expiration date: 2026-12-25\n", "ends on 2026-12-25, in 29 days"),
        (f"{ACCOUNT}# expiration date: 2026-11-26\n", "in 0 days"),
        (f"{ACCOUNT}# expiration date: 2026-11-25\n", "ended on 2026-11-25"),
        (ACCOUNT, "nobody will be warned"),
        ("", "no login, username, token, copr_url"),
    ],
    ids=["180 days", "30 days", "29 days", "today", "over", "no date", "no secret"],
)
def test_a_token_is_complained_of_in_time(config: str, words: str | None) -> None:
    trouble = copr.trouble_with(config, TODAY)
    assert trouble is None if words is None else words in trouble


def test_mistralrs_is_built_where_its_toolkit_is_and_may_take_its_time() -> None:
    assert copr.build_command("dist/cortex-0.1.0-1.src.rpm", "a/b") == ["build", "a/b", "dist/cortex-0.1.0-1.src.rpm"]
    package = "dist/mistralrs/mistralrs-cuda12-server-0.9.5-1.src.rpm"
    begin, *middle, end = copr.build_command(package, "a/b")
    assert (begin, middle, end) == ("build", ["--chroot", "fedora-43-x86_64", "--timeout", "36000", "a/b"], package)


def a_copr_cli(folder: Path, exit_codes: dict[str, int]) -> Path:
    """Put a copr-cli into a folder that writes down what it was told, and the mode of its configuration."""
    file = folder / "copr-cli"
    file.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "config = pathlib.Path(sys.argv[sys.argv.index('--config') + 1])\n"
        "told = [oct(config.stat().st_mode & 0o777), 'secret-word' in config.read_text(), *sys.argv[3:]]\n"
        f"with open({str(folder / 'told')!r}, 'a') as log: log.write(json.dumps(told) + chr(10))\n"
        f"sys.exit({exit_codes!r}.get(sys.argv[-1], 0))\n"
    )
    file.chmod(0o755)
    return folder


def run_copr(folder: Path, *words: str, config: str = f"{ACCOUNT}# expiration date: 2999-01-01\n") -> tuple[int, str]:
    env = {"PATH": f"{folder}:/usr/bin:/bin", "COPR_CONFIG": config}
    done = subprocess.run(
        [sys.executable, CI / "copr.py", *words], env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def told(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]


def test_each_package_is_built_and_one_that_fails_fails_the_job(tmp_path: Path) -> None:
    folder = a_copr_cli(tmp_path, {"b.src.rpm": 4})
    code, said = run_copr(folder, "build", "a.src.rpm", "b.src.rpm", "c.src.rpm")
    assert code == 4
    assert "secret-word" not in said
    assert told(folder) == [["0o600", True, "build", "grenade/cortex", f"{name}.src.rpm"] for name in "abc"]


def test_the_token_is_tried_out(tmp_path: Path) -> None:
    assert run_copr(a_copr_cli(tmp_path, {}), "token")[0] == 0
    assert told(tmp_path) == [["0o600", True, "whoami"]]
    assert run_copr(a_copr_cli(tmp_path, {"whoami": 3}), "token")[0] == 3


@pytest.mark.parametrize(("words", "code"), [(("token",), 1), (("build", "a.src.rpm"), 1), (("build",), 2), ((), 2)])
def test_without_an_account_or_a_package_nothing_is_sent(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    folder = a_copr_cli(tmp_path, {})
    assert run_copr(folder, *words, config="")[0] == code
    assert not (folder / "told").exists()


SPEC = """Name: x
Version:        0.9.5
Release:        3%{?dist}

%changelog
* Thu Nov 26 2026 the cortex project - 0.9.5-1
- mistral.rs 0.9.5
"""


def test_the_newest_tag_of_a_release_counts() -> None:
    names = ("v0.9.5", "v0.10.0", "v0.9.11", "v1.0.0-rc1", "nightly", "v0.10.0.1")
    assert mistralrs_tag.newest("".join(f"{'0' * 40}\trefs/tags/{name}\n" for name in names)) == "0.10.0"
    assert mistralrs_tag.newest("") is None


def test_a_newer_mistralrs_is_written_with_its_entry() -> None:
    text = mistralrs_tag.raised(SPEC, "0.10.0", "Tue Dec 01 2026")
    assert mistralrs_tag.pinned(text) == "0.10.0"
    assert "Release:        1%{?dist}" in text
    entry, older = text.partition("%changelog\n")[2].split("\n\n")
    assert entry == "* Tue Dec 01 2026 the cortex project - 0.10.0-1\n- mistral.rs 0.10.0"
    assert older.startswith("* Thu Nov 26 2026")


def test_the_pin_moves_forward_only(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    subprocess.run(["git", "init", "--quiet", upstream], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", upstream, *who, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    for folder in ("ci", "mistralrs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "ci/mistralrs_tag.py").write_text((CI / "mistralrs_tag.py").read_text())
    spec = tmp_path / "mistralrs/mistralrs-cuda.spec"
    spec.write_text(SPEC)

    def moved_to(*tags: str) -> tuple[int, str]:
        for tag in tags:
            subprocess.run(["git", "-C", upstream, "tag", tag], check=True)
        env = os.environ | {"MISTRALRS_UPSTREAM": f"file://{upstream}"}
        command = [sys.executable, str(tmp_path / "ci/mistralrs_tag.py")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    assert moved_to() == (1, ""), "no tag at all is a fault"
    assert moved_to("v0.9.4", "v0.9.5") == (0, "")
    assert spec.read_text() == SPEC
    assert moved_to("v0.9.6") == (0, "0.9.6")
    assert mistralrs_tag.pinned(spec.read_text()) == "0.9.6"
    assert moved_to() == (0, "")
