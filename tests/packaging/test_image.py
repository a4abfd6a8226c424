"""What the container files say in one place agrees with what they say in another, and with the project."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from tests.arch.source import ROOT
from tests.arch.test_container import COMPOSE, FILES, GATEWAY, PLACE, instructions, last_stage, the

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VENV = "/opt/cortex"
OF_A_SERVICE = {
    "build", "cap_drop", "depends_on", "deploy", "environment", "healthcheck", "image", "ports", "profiles",
    "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs", "ulimits", "volumes",
}  # fmt: skip
"""Keys of the Compose specification, those that are used: docker compose refuses a file with another one."""
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def env_of(path: Path) -> dict[str, str]:
    """Return what the image's processes find in their environment."""
    rest = " ".join(rest for word, rest in last_stage(path) if word == "ENV")
    return dict(re.findall(r"(\w+)=(\S+)", rest))


def installed(stage: list[tuple[str, str]]) -> set[str]:
    """Return what apt is told to install."""
    text = " ".join(rest for word, rest in stage if word == "RUN")
    found = re.findall(r"apt-get install -y --no-install-recommends ((?:[a-z0-9.+-]+ ?)+)", text)
    return {word for words in found for word in words.split()}


@each
def test_an_image_makes_the_user_that_it_runs_as_and_the_folder_that_it_writes_to(path: Path) -> None:
    stage = last_stage(path)
    text = " ".join(rest for word, rest in stage if word == "RUN")
    (uid,) = re.findall(r"--uid (\d+)", text)
    (home,) = re.findall(r"--home-dir (\S+) --create-home", text)
    assert the("USER", stage) == f"{uid}:{uid}"
    assert "--user-group" in text
    assert the("WORKDIR", stage) == home
    assert env_of(path).get("STATE_DIRECTORY", home) == home
    assert all(value == home or value.startswith(f"{home}/") for key, value in env_of(path).items() if key == "HF_HOME")


@each
def test_the_program_is_in_the_environment_that_was_built_and_on_the_path(path: Path) -> None:
    built = " ".join(rest for word, rest in instructions(path) if word == "RUN")
    assert f"-m venv {VENV} " in built
    assert f"compileall -q {VENV}/lib " in built
    assert ("COPY", f"--from=build {VENV} {VENV}") in last_stage(path)
    assert env_of(path)["PATH"] == f"{VENV}/bin:$PATH"
    *before, program = json.loads(the("ENTRYPOINT", last_stage(path)))
    assert program in PROJECT["scripts"]
    assert f"{VENV}/bin/{program} --version" in built, "a build whose program does not start fails"
    # The gateway hears signals itself; beside engines somebody has to take in what they leave behind.
    assert before == {"gateway": [], "neuron": ["tini", "--"]}[path.stem]
    assert not before or "tini" in installed(last_stage(path))


@each
def test_the_extras_are_the_projects(path: Path) -> None:
    (extras,) = re.findall(r"'\.\[(.*)\]'", path.read_text())
    wanted = {"gateway": {"fast", "store", "trace"}, "neuron": {"embedded", "neuron", "trace"}}[path.stem]
    assert set(extras.split(",")) == wanted
    assert wanted <= set(PROJECT["optional-dependencies"])


def test_the_base_has_a_python_that_the_project_takes() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\d+)\.(\d+)$", (PLACE / "gateway.Containerfile").read_text(), re.MULTILINE)
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert tuple(map(int, version)) >= oldest
    assert f"sys.version_info < {oldest}" in (PLACE / "neuron.Containerfile").read_text()


def test_the_neurons_image_has_what_engines_and_drivers_want() -> None:
    path = PLACE / "neuron.Containerfile"
    assert {"ca-certificates", "libgomp1", "python3"} <= installed(last_stage(path))
    env = env_of(path)
    assert env["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert set(env["NVIDIA_DRIVER_CAPABILITIES"].split(",")) == {"compute", "utility"}, "CUDA, and NVML"


def test_the_neurons_image_is_cudas_unless_another_is_asked_for() -> None:
    (base,) = [rest for word, rest in instructions(PLACE / "neuron.Containerfile") if word == "ARG"]
    assert re.fullmatch(r"BASE=nvidia/cuda:\d+\.\d+\.\d+-runtime-ubuntu\d+\.\d+", base)
    froms = [rest for word, rest in instructions(PLACE / "neuron.Containerfile") if word == "FROM"]
    assert froms == ["${BASE} AS build", "${BASE}"]
    said = COMPOSE["services"]["neuron"]["build"]["args"]["BASE"]
    assert said == "${CORTEX_NEURON_BASE:-" + base.removeprefix("BASE=") + "}"


def test_the_gateways_image_shows_the_ports_of_its_configuration() -> None:
    listens = (GATEWAY.gateway.listen, GATEWAY.gateway.metrics_listen)
    told = the("EXPOSE", last_stage(PLACE / "gateway.Containerfile")).split()
    assert told == [str(listen).rpartition(":")[2] for listen in listens]


def test_compose_says_nothing_that_compose_does_not_know() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes", "x-hardened"}
    for name, service in COMPOSE["services"].items():
        assert set(service) <= OF_A_SERVICE, name
        assert set(service.get("build", {})) <= {"context", "dockerfile", "args"}
        assert set(service.get("depends_on", [])) <= set(COMPOSE["services"])


@pytest.mark.parametrize("name", ["gateway", "neuron"])
def test_compose_builds_with_arguments_that_the_image_takes(name: str) -> None:
    build = COMPOSE["services"][name]["build"]
    path = PLACE / build["context"] / build["dockerfile"]
    taken = {rest.partition("=")[0] for word, rest in instructions(path) if word == "ARG"}
    assert set(build.get("args", {})) <= taken


def test_compose_mounts_configuration_where_the_programs_look() -> None:
    places = {
        name: {re.sub(r"\$\{[^}]*\}", "", mount).split(":")[1] for mount in COMPOSE["services"][name]["volumes"]}
        for name in ("gateway", "neuron")
    }
    assert json.loads(the("CMD", last_stage(PLACE / "neuron.Containerfile"))) == ["--config", "/etc/cortex/neuron.toml"]
    assert "/etc/cortex/neuron.toml" in places["neuron"]
    assert json.loads(the("CMD", last_stage(PLACE / "gateway.Containerfile"))) == ["serve"]
    assert {"/etc/cortex/cortex.toml", "/etc/cortex/models.toml"} <= places["gateway"]
    for name in places:
        assert the("WORKDIR", last_stage(PLACE / f"{name}.Containerfile")) in places[name], "what is to be kept"
