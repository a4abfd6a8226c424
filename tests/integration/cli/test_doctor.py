"""Both doctors at a gateway and a neuron that really run, as a person runs them: processes, with their exit codes.

The neuron asks for a credential, the gateway keeps its keys in a file; both listen on ports that their files name.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.fleet.fleet import GatewayProcess
from tests.integration.neuron.neuron_process import LIMIT_S, NeuronProcess, start, wait_until, wait_until_ready
from tests.port import free_port
from tests.unit.cli.desk import desk
from tests.unit.cli.doctor.test_neuron_look import DISCOVERY, WELL
from tests.unit.cli.doctor.test_neuron_look import neuron as fake_neuron

from cortex import __version__

GATEWAY = """
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics}"
poll_s = 0.2
shutdown_grace_s = 0

[store]
url = "sqlite:///cortex.db"

[[neurons]]
name = "beast"
endpoint = "{endpoint}"
token_file = "{token}"
"""
LLAMACPP = '[[harnesses]]\nname = "llamacpp"\n'


class Scene:
    """One gateway and one neuron; ``folder`` has their files."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.ports = {"port": free_port(), "metrics": free_port()}
        self.neuron_port = free_port()
        self._stack = stack
        self.neuron = self._start_neuron()
        self.write()
        self.gateway = GatewayProcess(folder)
        stack.callback(ended, self.gateway.process)
        self.gateway.wait_until_ready()

    def restart_neuron(self) -> None:
        """Start another neuron where the last one was, and wait until the gateway has seen it."""
        self.neuron = self._start_neuron()
        wait_until(lambda: self.gateway.get("/health")[0] == 200, lambda: self.gateway.log)

    def _start_neuron(self) -> NeuronProcess:
        head = f'port = {self.neuron_port}\ntoken_file = "token"\ncpu_device = true\n'
        neuron = start(self.folder, LLAMACPP, head=head, port=self.neuron_port)
        self._stack.callback(ended, neuron.process)
        wait_until_ready(neuron)
        return neuron

    def write(self, name: str = "cortex.toml", **other: object) -> Path:
        """Write the gateway's configuration, or one with something else in it."""
        said = {**self.ports, "endpoint": f"http://127.0.0.1:{self.neuron_port}", "token": "token", **other}
        file = self.folder / name
        file.write_text(GATEWAY.format(**said))
        return file


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "token").write_text("s3cret\n")
    (folder / "token").chmod(0o600)
    (folder / "models.toml").write_text('[[models]]\nid = "tiny"\nharness = "llamacpp"\nvram_mb = 100\n')
    with contextlib.ExitStack() as stack:
        yield Scene(folder, stack)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LIMIT_S)
    process.kill()
    process.wait()


def examined(module: str, config: Path, *options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Run a doctor; return its exit code and what it has found, by check."""
    argv = [
        sys.executable,
        "-P",
        "-m",
        module,
        "doctor",
        "--config",
        str(config),
        "--json",
        "--deadline",
        "60",
        *options,
    ]
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
    done = subprocess.run(argv, capture_output=True, env=env, timeout=100, check=False)
    assert done.stdout, done.stderr.decode()
    assert b"s3cret" not in done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["exit"] == done.returncode
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in said["findings"]:
        found.setdefault(finding["id"], []).append(finding)
    return done.returncode, found


def failed(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {id_: one["found"] for id_, several in found.items() for one in several if one["result"] == "fail"}


def test_a_healthy_fleet_is_well(scene: Scene) -> None:
    code, found = examined("cortex", scene.folder / "cortex.toml")
    assert (code in (0, 1), failed(found)) == (True, {})
    assert found["port.api"][0]["found"] == (
        f"cortex {__version__} runs on 127.0.0.1:{scene.ports['port']} (process {scene.gateway.process.pid})"
    )
    wanted = (
        "port.metrics",
        "gateway.ready",
        "gateway.nodes",
        "node.token",
        "node.version",
        "node.clock",
        "node.state",
    )
    wanted += ("store.reach", "store.schema", "catalogue.place", "config.secret")
    assert {id_: found[id_][0]["result"] for id_ in wanted} == dict.fromkeys(wanted, "ok")


def test_a_healthy_node_is_well(scene: Scene) -> None:
    code, found = examined("cortex.cli.neuron", scene.folder / "neuron.toml")
    assert (code in (0, 1), failed(found)) == (True, {})
    assert found["port.api"][0]["found"] == (
        f"cortex-neuron {__version__} runs on 127.0.0.1:{scene.neuron_port} (process {scene.neuron.process.pid})"
    )
    assert {found[id_][0]["result"] for id_ in ("port.ready", "engine.usable", "disk.state", "config.secret")} == {"ok"}


def test_whoever_else_has_the_port_is_named(scene: Scene) -> None:
    with desk() as another:
        config = scene.write("taken.toml", port=another.url.rsplit(":", 1)[1])
        code, found = examined("cortex", config, "--only", "port.api")
    (one,) = found["port.api"]
    assert (code, one["result"]) == (2, "fail")
    name = Path("/proc/self/comm").read_text().strip()
    assert f"is held by {name} (process {os.getpid()})" in one["found"]


def test_a_wrong_credential_is_told(scene: Scene) -> None:
    (scene.folder / "wrong").write_text("another\n")
    (scene.folder / "wrong").chmod(0o600)
    code, found = examined("cortex", scene.write("wrong.toml", token="wrong"), "--only", "node")
    assert (code, failed(found)) == (2, {"node.token": "it refuses the credential of this node"})


def test_a_neuron_of_a_far_version_is_told(scene: Scene) -> None:
    with fake_neuron({**WELL, "/discovery": (200, {**DISCOVERY, "neuron_version": "9.0.0"})}) as endpoint:
        code, found = examined("cortex", scene.write("far.toml", endpoint=endpoint), "--only", "node.version")
    assert (code, failed(found)) == (2, {"node.version": f"it is 9.0.0, this is {__version__}"})


def test_a_neuron_that_is_gone_is_told_by_the_way_to_it_and_by_the_gateway(scene: Scene) -> None:
    assert scene.neuron.stop() == 0
    try:
        wait_until(lambda: scene.gateway.get("/health")[0] == 503, lambda: scene.gateway.log)
        code, found = examined("cortex", scene.folder / "cortex.toml")
    finally:
        scene.restart_neuron()
    assert code == 2
    assert set(failed(found)) == {"node.connect", "gateway.nodes"}
    assert found["node.connect"][0]["about"] == found["gateway.nodes"][0]["about"] == "beast"
    assert "Connection refused" in found["node.connect"][0]["found"]
