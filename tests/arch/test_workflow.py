"""The CI's workflows: of the keys that every Gitea knows, and each step something that a person can run as well."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.arch.source import ROOT, files, relative

WORKFLOWS = sorted((ROOT / ".gitea" / "workflows").glob("*.yml"))
RECIPE = (ROOT / "docs" / "recipes" / "making-a-release.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

TOP_KEYS = {"name", "on", "jobs"}
EVENTS = {"push": {"branches", "tags", "paths"}, "pull_request": set(), "schedule": set(), "workflow_dispatch": set()}
JOB_KEYS = {"runs-on", "needs", "container", "steps"}
"""Others (permissions, timeout-minutes, concurrency, environment) older servers pass over in silence."""
ACTIONS = {"actions/checkout@v4"}
CRON = re.compile(r"([0-9*,/-]+) ([0-9*,/-]+) ([0-9*,/-]+) ([0-9*,/-]+) ([0-9*,/-]+)")


def read(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    loaded["on"] = loaded.pop(True)  # what YAML 1.1 takes the word `on` for
    return dict(loaded)


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def test_the_workflows_are_these() -> None:
    assert sorted(path.stem for path in WORKFLOWS) == ["check", "mistralrs", "mistralrs-tag", "release", "token"]


@each
def test_a_workflow_has_only_keys_that_every_server_heeds(path: Path) -> None:
    workflow = read(path)
    assert set(workflow) == TOP_KEYS
    assert workflow["name"] == path.stem
    assert set(workflow["on"]) <= set(EVENTS)
    for event, filters in workflow["on"].items():
        assert event == "schedule" or set(filters or {}) <= EVENTS[event], event
    for job in workflow["jobs"].values():
        assert set(job) <= JOB_KEYS
        assert isinstance(job["runs-on"], str)
        assert set(job.get("needs", [])) <= set(workflow["jobs"])


@each
def test_a_step_is_one_line_that_a_person_can_run(path: Path) -> None:
    for step in steps(read(path)):
        assert set(step) <= {"uses", "run", "env"}
        if "uses" in step:
            assert step["uses"] in ACTIONS
            continue
        assert "\n" not in step["run"]
        assert "${{" not in step["run"], "a tag's name is no part of a command: let it come in the environment"
        program, *words = step["run"].split()
        if program == "make":
            named = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
            assert named, step["run"]
            assert set(named) <= TARGETS
        else:
            assert os.access(ROOT / program, os.X_OK), program


@each
def test_a_job_checks_out_the_source_and_installs_first(path: Path) -> None:
    for job in read(path)["jobs"].values():
        first, second, *_ = job["steps"]
        assert first == {"uses": "actions/checkout@v4"}
        assert second["run"].split()[0] in (".ci/install", ".ci/run")


@each
def test_secrets_are_given_to_the_step_that_needs_them_and_are_in_the_recipe(path: Path) -> None:
    text = path.read_text()
    for line in text.splitlines():
        if "secrets." in line:
            assert re.fullmatch(r"          [A-Z_]+: \$\{\{ secrets\.[A-Z_]+ \}\}", line), line
    own = set(re.findall(r"secrets\.(\w+)", text)) - {"GITHUB_TOKEN"}
    assert {name for name in own if f"`{name}`" not in RECIPE} == set()


@each
def test_what_is_scheduled_has_a_time_and_can_be_started_by_hand(path: Path) -> None:
    events = read(path)["on"]
    for entry in events.get("schedule", []):
        assert CRON.fullmatch(entry["cron"])
        assert "workflow_dispatch" in events


def test_every_push_is_checked_and_only_a_tag_is_released() -> None:
    check = read(ROOT / ".gitea/workflows/check.yml")
    assert check["on"]["push"] == {"branches": ["**"]}
    commands = {word for step in steps(check) for word in step.get("run", "").split()}
    assert {"lint", "types", "imports", "fedora-test", ".ci/run"} <= commands
    release = read(ROOT / ".gitea/workflows/release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["package"]["needs"] == ["version"]


def commands(name: str) -> list[str]:
    return [step["run"] for step in steps(read(ROOT / f".gitea/workflows/{name}.yml")) if "run" in step]


def test_a_tag_is_checked_packaged_built_and_told_of_in_this_order() -> None:
    assert [line for line in commands("release") if line.startswith("make ")] == [
        *("make versions", "make srpm", "make copr", "make publish")
    ]


@pytest.mark.parametrize(
    ("name", "does"), [("token", "make token"), ("mistralrs-tag", "packaging/ci/propose-mistralrs")]
)
def test_what_nobody_would_think_of_is_done_once_a_week(name: str, does: str) -> None:
    (entry,) = read(ROOT / f".gitea/workflows/{name}.yml")["on"]["schedule"]
    *_, weekday = entry["cron"].split()
    assert weekday.isdigit()
    assert commands(name)[-1] == does


def test_everything_that_a_change_must_pass_is_run() -> None:
    lines = (ROOT / ".ci/run").read_text().partition("export CI=true")[2].splitlines()
    called = [line.split()[1] for line in lines if line.strip().startswith("make ")]
    assert called == ["check", "docs", "sim", "test", "rpm-test"]


IMAGES = {".ci/run": "node:22-bookworm", ".ci/install engine": "node:22-trixie"}


@each
def test_what_needs_a_certain_debian_says_which(path: Path) -> None:
    """What runners call ubuntu-latest may be any image; Ubuntu packages no browser, and an older Debian no rustup."""
    for name, job in read(path)["jobs"].items():
        wanted = {image for step in job["steps"] for run, image in IMAGES.items() if step.get("run") == run}
        assert {job[key] for key in job if key == "container"} == wanted, name


def test_a_changed_pin_of_mistralrs_is_rebuilt() -> None:
    for name in read(ROOT / ".gitea/workflows/mistralrs.yml")["on"]["push"]["paths"]:
        assert (ROOT / name).parent.is_dir()
    assert "packaging/mistralrs/mistralrs-cuda.spec" in (ROOT / ".gitea/workflows/mistralrs.yml").read_text()


def test_scripts_of_the_ci_may_be_executed() -> None:
    """Those without a suffix: what has one is run by its interpreter."""
    scripts = [path for path in files("") if relative(path).startswith((".ci/", "packaging/")) and is_script(path)]
    assert [relative(path) for path in scripts if not os.access(path, os.X_OK)] == []


def is_script(path: Path) -> bool:
    return path.read_bytes().startswith(b"#!")
