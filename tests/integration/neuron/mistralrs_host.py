"""A host with a mistral.rs below a systemd, both fake and both real processes; used by the tests beside this file."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from tests.integration.neuron.neuron_process import LIMIT_S, NeuronProcess, neuron, wait_until
from tests.port import free_port

from cortex.testing.fake_mistralrs import OPTIONS_VARIABLE, FakeModel, FakeOptions
from cortex.testing.fake_systemd import FakeSystemd

UNIT = "mistralrs.service"
URL = "http://localhost:8080"
AS_WRITTEN = """\
[[harnesses]]
name = "mistralrs"
endpoint = "http://localhost:8080"
systemd_unit = "mistralrs.service"

[[harnesses]]
name = "llamacpp"
binary = "/usr/local/bin/llama-server"
port_range = [8100, 8199]
"""
PROGRAM = [sys.executable, "-P", "-m", "cortex.testing.fake_mistralrs"]
CODER, SMALL = "Qwen/Qwen3-Coder-30B-A3B-Instruct", "Qwen/Qwen3-VL-8B"
MODELS = {CODER: FakeModel(weights_mb=48), SMALL: FakeModel(weights_mb=16)}


class Host:
    """A host with a systemd and a mistral.rs, which is up when ``start`` was called."""

    def __init__(self, folder: Path, systemd: FakeSystemd, endpoint: str) -> None:
        self.folder = folder
        self.systemd = systemd
        self.endpoint = endpoint
        self.harnesses = AS_WRITTEN.replace(URL, endpoint)

    def install(self, version: str = "0.9.5", models: dict[str, FakeModel] | None = None, **more: Any) -> None:
        """Install mistral.rs with these models, all loaded when it starts."""
        asked = ("unloaded", "hold_tokens", "cuda_toolkit_version", "devices")
        options = {key: more.pop(key) for key in asked if key in more}
        chosen = models or MODELS
        config = self.folder / "models.toml"
        listed = "".join(f'[[models]]\nmodel_id = "{name}"\n' for name in chosen)
        host, port = self.endpoint.removeprefix("http://").split(":")
        config.write_text(f'command = "serve"\n[server]\nhost = "{host}"\nport = {port}\n{listed}')
        said = msgspec.json.encode(FakeOptions(version=version, models=chosen, **options)).decode()
        self.systemd.install(UNIT, [*PROGRAM, "from-config", "-f", str(config)], {OPTIONS_VARIABLE: said}, **more)

    @contextlib.contextmanager
    def neuron(self) -> Iterator[NeuronProcess]:
        with neuron(self.folder, self.harnesses, env=self.systemd.environment()) as running:
            yield running

    def call(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Speak to mistral.rs itself, as somebody does who knows of no neuron."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def states(self) -> dict[str, str]:
        models = json.loads(self.call("/v1/models")[1])["data"]
        return {model["id"]: model["status"] for model in models if "status" in model}

    def start(self) -> None:
        """Start mistral.rs, as an enabled unit is at boot, and wait until it answers."""
        subprocess.run(["systemctl", "start", UNIT], env=self.systemd.environment(), check=True)

        def is_up() -> bool:
            with contextlib.suppress(OSError):
                return self.call("/health")[0] == 200
            return False

        wait_until(is_up)


@contextlib.contextmanager
def a_host(folder: Path) -> Iterator[Host]:
    """Yield a host whose mistral.rs is to listen on a free port; nothing of it runs any more afterwards."""
    with FakeSystemd(folder / "systemd") as systemd:
        yield Host(folder, systemd, f"http://127.0.0.1:{free_port()}")
