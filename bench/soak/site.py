"""The fleet of a soak, on loopback: one gateway, two nodes with a C upstream each, one node with a real llama.cpp.

Both upstreams have the model ``bench``; the llama.cpp has ``tiny``, which the gateway loads when it is asked for.
"""

import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.build import BENCH, build
from bench.child import Child
from bench.peer.interface import wait_ready
from bench.place import choose_cores
from bench.port import free_port
from bench.upstream import Upstream
from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model

BIN = BENCH.parent / ".venv" / "bin"
CONTEXT = 4096
READY_S = 60.0

NEURON = """\
port = {port}
host = "127.0.0.1"
state_dir = "{folder}/state"
keep_engines = false

[[harnesses]]
{harness}
"""
GATEWAY = """\
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics}"
gateway_id = "soak"
event_loop = "{loop}"

{nodes}
"""
NODE = '[[neurons]]\nname = "{name}"\nendpoint = "http://127.0.0.1:{port}"\n'
MODELS = """\
[[models]]
id = "tiny"
harness = "llamacpp"
source = "{source}"
context = 1024
parallel = 4
"""


class Site:
    """The processes, by name: ``gateway``, ``neuron-a``, ``neuron-b``, ``neuron-c``. They run from when it is made."""

    def __init__(self, folder: Path, loop: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.processes: dict[str, Child] = {}
        self._folder = folder
        program, self._cores = build().upstream, choose_cores()
        self.upstreams: list[Upstream] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            nodes = []
            for name in ("a", "b"):
                self.upstreams.append(Upstream(program, self._cores.upstream, self._room(f"upstream-{name}")))
                harness = f'name = "openai"\nendpoint = "http://127.0.0.1:{self.upstreams[-1].port}"'
                nodes.append(NODE.format(name=name, port=self._start_neuron(name, harness)))
            llama = self._start_neuron("c", 'name = "llamacpp"')
            self._llama_url = f"http://127.0.0.1:{llama}"
            nodes.append(NODE.format(name="c", port=llama))
            self._start_gateway(loop, nodes)
            undo.pop_all()

    def stop(self) -> None:
        """End everything, the gateway first."""
        for child in reversed(self.processes.values()):
            child.stop()
        for upstream in self.upstreams:
            upstream.child.stop()

    def crash_upstream(self, number: int) -> None:
        """Let an engine die, and be there again."""
        self.upstreams[number].restart()

    def crash_llama(self) -> bool:
        """Kill the llama.cpp that the third node has started; False where none runs."""
        engines = self.processes["neuron-c"].pids()[1:]
        for pid in engines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(engines)

    def put_failure_away(self) -> None:
        """Do what an operator does who knows why an engine has died so often: let the next load be tried at once.

        Else a neuron leaves a model alone, ever longer, whose engine dies within minutes again and again.
        """
        with contextlib.suppress(OSError):
            reports = _asked(f"{self._llama_url}/models")
            if any(report["id"] == "tiny" and report["status"] == "failed" for report in reports):
                _asked(f"{self._llama_url}/models/unload", {"model_id": "tiny"})

    def metrics(self) -> dict[str, float]:
        """Return what the gateway counts, added up over labels; nothing when it does not answer in time."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except (OSError, urllib.error.URLError):
            return {}
        found: dict[str, float] = {}
        for line in lines:
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def complaints(self) -> Iterator[str]:
        """Yield what the processes logged as errors, requests that failed left out: the clients tell of those."""
        for name in self.processes:
            for line in (self._folder / name / "log").read_text(errors="replace").splitlines():
                if "Traceback" in line or (" ERROR " in line and " access: " not in line):
                    yield f"{name}: {line}"

    def _room(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True)
        return folder

    def _start(self, name: str, *argv: str | Path) -> Child:
        folder = self._folder / name
        core = self._cores.gateway if name == "gateway" else self._cores.upstream
        child = Child(argv, core=core, log=folder / "log", cwd=folder)
        self.processes[name] = child
        return child

    def _start_neuron(self, name: str, harness: str) -> int:
        port, folder = free_port(), self._room(f"neuron-{name}")
        (folder / "neuron.toml").write_text(NEURON.format(port=port, folder=folder, harness=harness))
        child = self._start(folder.name, BIN / "cortex-neuron", "--config", "neuron.toml")
        wait_ready(child, port, "/readyz", READY_S)
        return port

    def _start_gateway(self, loop: str, nodes: list[str]) -> None:
        folder = self._room("gateway")
        source = write_model(folder / "tiny.gguf", TinyModel(layers=2, ctx=CONTEXT, eos_bias=None))
        (folder / "models.toml").write_text(MODELS.format(source=source))
        text = GATEWAY.format(port=self.port, metrics=self.metrics_port, loop=loop, nodes="\n".join(nodes))
        (folder / "cortex.toml").write_text(text)
        child = self._start("gateway", BIN / "cortex", "serve", "--config", "cortex.toml")
        wait_ready(child, self.port, "/readyz", READY_S)


def _asked(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
