"""The fleet that the pages speak of, real and small, at other addresses: a node ``beast``, a model ``coder``."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.docs.block import ROOT, blocks_of
from tests.docs.host import Host
from tests.integration.gateway.real_fleet import Neuron, is_ready, neuron, process, wait_until
from tests.port import free_port

from cortex import __version__
from cortex.neuron.embedded.tiny_model import write_demo_model

LIMIT_S = 90.0
OUTWARD = re.compile(r"(?<![-=\w<])>{1,2} *[~/$]\S*")
"""What would be written outside of the folders where commands run."""

NODE, MODEL = "beast", "cortex-demo"

MODELS = """
[[models]]
id = "cortex-demo"
aliases = ["coder"]
harness = "llamacpp"
source = "{source}"
args = ["--predict", "32"]
parallel = 2

# Those of the trace in docs/replay.md; nobody asks this fleet for them.
[[models]]
id = "org/coder"
harness = "llamacpp"
vram_mb = 20000

[[models]]
id = "org/chat"
harness = "llamacpp"
vram_mb = 20000
"""

OTHERS = {"[model_providers": ".codex/config.toml", "opencode.ai/config": "opencode.json", "apiBase": "config.yaml"}
"""Files of other programs, by what their blocks in docs/clients.md have."""

GATEWAY = """
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics_port}"
poll_s = 0.5

[store]
url = "sqlite:///cortex.db"

[[neurons]]
name = "beast"
endpoint = "{neuron}"
"""


class Fleet:
    """One gateway of the fleet; ``folder`` has the files that the pages call by name, and is where commands run."""

    def __init__(self, folder: Path, host: Host, node: Neuron, source: Path, port: int, metrics_port: int) -> None:
        self.folder = folder
        self.host = host
        self.node = node
        self.url = f"http://127.0.0.1:{port}"
        self.key = ""
        self.ran: set[tuple[object, ...]] = set()
        """Commands that were run already, with what was exported for them."""
        self._places = {
            "http://127.0.0.1:8000": self.url,
            "http://127.0.0.1:9000": self.url,
            "http://gateway:8000": self.url,
            "http://GATEWAY:8000": self.url,
            "http://NODE:9090": node.url,
            "http://gateway.example.internal:8000": self.url,
            "http://gateway:9100": f"http://127.0.0.1:{metrics_port}",
            "http://beast:9090": node.url,
            "/srv/models/Qwen3-0.6B-Q8_0.gguf": str(source),
            "/path/to/model.gguf": str(source),
            ".venv/bin/": "",
            "install '.[": f"install '{ROOT}[",
            "==0.4.*": f"=={__version__}",
        }
        if importlib.util.find_spec("uvloop") is None:  # which has no wheel for every Python, as the README says
            self._places["[fast,"] = "["

    def here(self, text: str) -> str:
        """Return a command with the addresses and files of this fleet, and its key where the page leaves it out.

        What it would write elsewhere into the system it prints.
        """
        for said, meant in self._places.items():
            text = text.replace(said, meant)
        return self.host.here(OUTWARD.sub(self._written, text)).replace("ctx-…", self.key)

    def _written(self, found: re.Match[str]) -> str:
        return found[0] if found[0] != self.host.here(found[0]) else ""

    def has(self, url: str) -> bool:
        """Tell whether a URL is one of this fleet's own."""
        return any(url.startswith(own) for own in {*self._places.values()} if own.startswith("http"))

    def run(self, text: str, env: Mapping[str, str], codes: tuple[int, ...] = (0,), place: str = ".") -> str:
        """Run a command as a shell does; return what it printed. One that follows is read until it says something."""
        argv = ["bash", "-o", "pipefail", "-c", self.here(text)]
        with subprocess.Popen(
            argv,
            cwd=self.folder / place,
            env=self.environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as running:
            try:
                if "--follow" in text:
                    assert running.stdout is not None
                    said = running.stdout.readline()
                    assert running.poll() is None or running.returncode == 0, said + running.stdout.read()
                    return said
                said, _ = running.communicate(timeout=LIMIT_S)
                assert running.returncode in codes, f"{text}\nended with {running.returncode}\n{said}"
                return said
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, 15)

    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.folder), "CURL_HOME": str(self.folder), "CORTEX_URL": self.url}
        return self.host.environment() | own

    def settle(self) -> None:
        """Bring the fleet to where every page begins: the node is used, the model loaded, and pinned by nobody."""
        self.post("/admin/v1/nodes/beast/undrain", {})
        self.post("/admin/v1/load", {"model": MODEL, "wait": True})
        self.post("/admin/v1/pin", {"model": MODEL, "node": NODE, "pinned": False})

    def post(self, path: str, body: object) -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def make_first_key(self) -> None:
        said = self.run("cortex keys create first --admin", {})
        self.key = secret_in(said)


def ask(url: str) -> str:
    """Ask a gateway that serves one model; return what that says."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=LIMIT_S) as answer:
        (model,) = json.load(answer)["data"]
    body = {"model": model["id"], "max_tokens": 4, "messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def secret_in(said: str) -> str:
    found = re.search(r"ctx-\S+", said)
    assert found, said
    return found[0]


@contextlib.contextmanager
def node(folder: Path) -> Iterator[tuple[Neuron, Path]]:
    """Run the node; with it comes the file of its model."""
    with neuron(folder) as running:
        yield running, write_demo_model(folder / "demo.gguf")


@contextlib.contextmanager
def fleet(folder: Path, host: Host, running: Neuron, source: Path) -> Iterator[Fleet]:
    """Run a gateway before the node, with a store of its own, in a folder with every file that pages name."""
    port, metrics_port = free_port(), free_port()
    (folder / "models.toml").write_text(MODELS.format(source=source))
    (folder / "cortex.toml").write_text(GATEWAY.format(port=port, metrics_port=metrics_port, neuron=running.url))
    (folder / "neuron.toml").write_text('[[harnesses]]\nname = "llamacpp"\n')
    (folder / ".curlrc").write_text("fail-with-body\nno-progress-meter\n")
    trace, nodes = (
        found.text
        for found in blocks_of(ROOT / "docs" / "replay.md")
        if "at_s" in found.text or "[[nodes]]" in found.text
    )
    (folder / "trace.jsonl").write_text(trace)
    (folder / "fleet.toml").write_text(nodes)
    with process(folder, "gateway", "-m", "cortex", "serve", "--config", "cortex.toml") as serving:
        it = Fleet(folder, host, running, source, port, metrics_port)
        write_others(it)
        wait_until(lambda: is_ready(it.url), serving, folder / "gateway.log")
        yield it


def write_others(it: Fleet) -> None:
    """Write the files of other programs, as their page has them, and those of this repository that pages write to."""
    copy_of_packaging(it.folder)
    (it.folder / ".codex").mkdir()
    for block in blocks_of(ROOT / "docs" / "clients.md"):
        for words, name in OTHERS.items():
            if words in block.text:
                (it.folder / name).write_text(it.here(block.text))


def copy_of_packaging(folder: Path) -> None:
    shutil.copytree(ROOT / "packaging", folder / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
