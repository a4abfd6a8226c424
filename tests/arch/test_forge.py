"""What a release and a proposal say to the forge, shown to as much of Gitea's API as they use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.arch.source import ROOT
from tests.packaging.gitea import Gitea, serving

CI = ROOT / "packaging" / "ci"


@pytest.fixture
def gitea() -> Iterator[Gitea]:
    with serving() as server:
        yield server


def run_forge(gitea: Gitea, *words: str, token: str = "secret-word") -> tuple[int, str]:
    env = os.environ | gitea.env(token)
    command = [sys.executable, str(CI / "forge.py"), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_release_is_made_with_notes_and_packages_and_made_again_is_brought_up_to_date(
    gitea: Gitea, tmp_path: Path
) -> None:
    notes, package = tmp_path / "notes.md", tmp_path / "cortex-0.2.0-1.src.rpm"
    package.write_bytes(b"\xed\xab\xee\xdb")
    for text in ("- The first words.\n", "- Better words.\n"):
        notes.write_text(text)
        assert run_forge(gitea, "release", "v0.2.0", str(notes), str(package)) == (0, "page")
        release = gitea.releases["v0.2.0"]
        assert (release["name"], release["body"], release["draft"]) == ("0.2.0", text, False)
        assert release["assets"] == [{"name": package.name}]
    assert [body for method, path, body in gitea.asked if "assets" in path] == [b"\xed\xab\xee\xdb"]


def test_a_branch_is_proposed_once(gitea: Gitea) -> None:
    for _ in range(2):
        assert run_forge(gitea, "propose", "mistralrs-0.9.6", "packaging: mistral.rs 0.9.6") == (0, "pull")
    assert [(one["head"]["ref"], one["base"]) for one in gitea.pulls] == [("mistralrs-0.9.6", "main")]


def test_a_forge_that_refuses_is_quoted(gitea: Gitea) -> None:
    code, said = run_forge(gitea, "propose", "a", "b", token="wrong")
    assert code == 1
    assert "401" in said
    assert "who?" in said
