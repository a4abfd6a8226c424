"""Container files and the Compose file: hardened, with files that are there and configuration that can be loaded."""

import fnmatch
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.arch.source import ROOT

from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import load_gateway_settings
from cortex.neuron.settings import load_neuron_settings

PLACE = ROOT / "packaging" / "container"
FILES = sorted(PLACE.glob("*.Containerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text())
GPU: dict[str, Any] = yaml.safe_load((PLACE / "compose.gpu.yaml").read_text())
OURS = ("gateway", "neuron")

GATEWAY = load_gateway_settings(PLACE / "cortex.toml", {})
NEURON = load_neuron_settings(PLACE / "neuron.toml", {})


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return (instruction, the rest) of a Containerfile, continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    return found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]


def the(word: str, stage: list[tuple[str, str]]) -> str:
    return [rest for name, rest in stage if name == word][-1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_image_runs_its_program_as_its_own_user_without_a_shell(path: Path) -> None:
    stage = last_stage(path)
    uid, _, gid = the("USER", stage).partition(":")
    assert uid == gid
    assert int(uid) >= 10000
    program = json.loads(the("ENTRYPOINT", stage))
    assert program[-1] in ("cortex", "cortex-neuron")
    assert isinstance(json.loads(the("CMD", stage)), list)
    assert the("STOPSIGNAL", stage) == "SIGTERM"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_builds_an_image_is_not_in_it(path: Path) -> None:
    copied = [rest.split() for word, rest in last_stage(path) if word == "COPY"]
    assert [words for words in copied if words[0] != "--from=build" and words[0] == "src"] == []
    assert ["--from=build", "/opt/cortex", "/opt/cortex"] in copied


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_images_are_named_without_a_registry(path: Path) -> None:
    names = [rest.split()[0] for word, rest in instructions(path) if word == "FROM"]
    names += [rest.partition("=")[2] for word, rest in instructions(path) if word == "ARG"]
    names += [service["image"] for service in COMPOSE["services"].values()]
    assert [name for name in names if "." in name.partition("/")[0] and "/" in name] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_everything_that_is_copied_is_sent_to_the_builder(path: Path) -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions(path):
        *sources, _ = rest.split()
        if word == "COPY" and not sources[0].startswith("--from"):
            assert [name for name in sources if not any(fnmatch.fnmatch(name, one) for one in let_in)] == []
            assert all((ROOT / name).exists() for name in sources)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Answer every request to a free port with a status, on /livez."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_health_check_asks_whether_the_process_answers(path: Path) -> None:
    _, _, command = the("HEALTHCHECK", last_stage(path)).partition("CMD ")
    program, option, text = json.loads(command)
    assert (program.removesuffix("3"), option) == ("python", "-c")
    port = 8000 if path.stem == "gateway" else NEURON.port
    assert f" {port}," in text
    for status, code in ((200, 0), (503, 1)):
        with answering(status) as free:
            told = subprocess.run([sys.executable, "-c", text.replace(f" {port},", f" {free},")], check=False)
        assert told.returncode == code
    gone = subprocess.run(
        [sys.executable, "-c", text.replace(f" {port},", f" {free},")], capture_output=True, check=False
    )
    assert gone.returncode == 1


def test_the_neurons_image_has_a_configuration_that_works_by_itself() -> None:
    copied = [rest.split() for word, rest in last_stage(PLACE / "neuron.Containerfile") if word == "COPY"]
    assert ["packaging/container/neuron.toml", "/etc/cortex/neuron.toml"] in copied
    assert not NEURON.keep_engines, "engines end with the container"
    (harness,) = NEURON.harnesses
    assert (harness.name, harness.binary) == ("llamacpp", None), "the embedded engine, where there is no other"
    exposed = the("EXPOSE", last_stage(PLACE / "neuron.Containerfile")).split()
    assert harness.port_range is not None
    assert exposed == [str(NEURON.port), "-".join(map(str, harness.port_range))]


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_no_rights_and_a_read_only_root(name: str) -> None:
    service = COMPOSE["services"][name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    build = PLACE / service["build"]["context"]
    assert (build / service["build"]["dockerfile"]).is_file()


def test_what_is_mounted_is_there() -> None:
    named = set()
    for service in COMPOSE["services"].values():
        for mount in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            if source.startswith("."):
                assert (PLACE / source).exists(), source
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_everything_is_published_on_this_machine_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert [
        port for port in published if not re.match(r"(127\.0\.0\.1|\$\{CORTEX_PUBLISH:-127\.0\.0\.1\}):", port)
    ] == []


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_a_stop_waits_as_long_as_the_programs_take() -> None:
    services = COMPOSE["services"]
    assert seconds(services["gateway"]["stop_grace_period"]) >= GATEWAY.gateway.shutdown_grace_s + 10
    assert seconds(services["neuron"]["stop_grace_period"]) >= NEURON.drain_timeout_s + 60


def test_the_gateway_finds_its_neuron_its_catalogue_and_a_place_for_its_store() -> None:
    (entry,) = GATEWAY.neurons
    assert entry.endpoint == f"http://neuron:{NEURON.port}"
    assert {profile.harness for profile in read_catalogue(PLACE / "models.toml")} == {NEURON.harnesses[0].name}
    mounts = [mount.split(":")[1] for mount in COMPOSE["services"]["gateway"]["volumes"]]
    store = GATEWAY.store.url or ""
    assert store.removeprefix("sqlite:///").rsplit("/", 1)[0] in mounts
    assert COMPOSE["services"]["gateway"]["environment"]["CORTEX_STORE__URL"] == f"${{CORTEX_STORE__URL:-{store}}}"


def test_postgresql_is_there_when_it_is_asked_for() -> None:
    assert {name for name, service in COMPOSE["services"].items() if "profiles" in service} == {"db"}


def test_prometheus_asks_gateway_and_neuron_and_grafana_finds_it() -> None:
    targets = {
        path.stem: yaml.safe_load(path.read_text())[0]["targets"] for path in (PLACE / "prometheus").glob("*.yml")
    }
    assert targets == {"cortex-gateway": ["gateway:9100"], "cortex-neuron": [f"neuron:{NEURON.port}"]}
    asked = {path.name for path in (ROOT / "packaging" / "prometheus" / "target").glob("*.yml")}
    assert {f"{name}.yml" for name in targets} == asked, "the files that prometheus.yml names"
    grafana = COMPOSE["services"]["grafana"]
    assert grafana["environment"]["CORTEX_PROMETHEUS_URL"] == "http://prometheus:9090"
    assert f"../grafana/dashboard:{grafana['environment']['CORTEX_DASHBOARDS']}:ro" in grafana["volumes"]


def test_the_file_for_gpus_only_adds_to_services_that_there_are() -> None:
    assert set(GPU["services"]) == {"neuron"}
    (device,) = GPU["services"]["neuron"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
