"""A newer mistral.rs is proposed with its version and the commit of its tag, once."""

import re
import shutil
from pathlib import Path

import pytest
from tests.packaging.gitea import Gitea, serving
from tests.packaging.upstream import PACKAGING, make_upstream, need, run

pytestmark = pytest.mark.timeout(600)


def a_clone(folder: Path, pinned: str) -> Path:
    """Return a clone with our packaging, in which an older version is pinned, of a repository that takes pushes."""
    clone = folder / "clone"
    for name in ("ci", "mistralrs"):
        shutil.copytree(PACKAGING / name, clone / "packaging" / name, ignore=shutil.ignore_patterns("__pycache__"))
    spec = clone / "packaging/mistralrs/mistralrs-cuda.spec"
    spec.write_text(re.sub(r"(?m)^(Version:\s*).*$", rf"\g<1>{pinned}", spec.read_text()))
    run("git", "init", "--quiet", "--bare", folder / "origin.git")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=clone)
    run("git", "remote", "add", "origin", f"file://{folder / 'origin.git'}", cwd=clone)
    run("git", "add", ".", cwd=clone)
    run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "all", cwd=clone)
    run("git", "push", "--quiet", "origin", "main", cwd=clone)
    return clone


def propose(clone: Path, env: dict[str, str]) -> str:
    run("git", "checkout", "--quiet", "main", cwd=clone)
    return run("packaging/ci/propose-mistralrs", env=env, cwd=clone)


def env_of(gitea: Gitea, folder: Path) -> dict[str, str]:
    env = make_upstream(folder / "upstream").env(folder / "unused") | gitea.env()
    del env["MISTRALRS_PIN"]
    return env


def test_a_newer_one_is_proposed_once_with_what_it_takes_to_build_it(tmp_path: Path) -> None:
    need("cargo", "git", "xz")
    with serving() as gitea:
        env, clone = env_of(gitea, tmp_path), a_clone(tmp_path, "0.9.4")
        assert propose(clone, env).splitlines()[-1] == "pull"
        assert "has been proposed already" in propose(clone, env)
    assert [(one["head"]["ref"], one["base"]) for one in gitea.pulls] == [("mistralrs-0.9.5", "main")]
    origin = ("git", "-C", str(tmp_path / "origin.git"))
    changed = run(*origin, "diff", "--name-only", "main", "mistralrs-0.9.5").split()
    assert changed == ["packaging/mistralrs/mistralrs-cuda.spec", "packaging/mistralrs/pin"]
    spec = run(*origin, "show", "mistralrs-0.9.5:packaging/mistralrs/mistralrs-cuda.spec")
    assert re.search(r"(?m)^Version:\s*0\.9\.5$", spec)
    pin = run(*origin, "show", "mistralrs-0.9.5:packaging/mistralrs/pin")
    assert pin == f"0.9.5 {run('git', '-C', tmp_path / 'upstream/mistralrs', 'rev-parse', 'v0.9.5')}"


def test_what_is_in_the_spec_without_a_commit_is_given_one_and_then_is_pinned(tmp_path: Path) -> None:
    need("cargo", "git", "xz")
    with serving() as gitea:
        env, clone = env_of(gitea, tmp_path), a_clone(tmp_path, "0.9.5")
        (clone / "packaging/mistralrs/pin").unlink(missing_ok=True)
        assert propose(clone, env).splitlines()[-1] == "pull"
        assert "has been proposed already" in propose(clone, env)
        run("git", "merge", "--quiet", "--ff-only", "mistralrs-0.9.5", cwd=clone)
        asked = len(gitea.asked)
        assert "is the one that is pinned" in propose(clone, env)
        assert len(gitea.asked) == asked
    assert [(one["head"]["ref"], one["base"]) for one in gitea.pulls] == [("mistralrs-0.9.5", "main")]
    changed = run("git", "-C", tmp_path / "origin.git", "diff", "--name-only", "main", "mistralrs-0.9.5").split()
    assert changed == ["packaging/mistralrs/pin"]
