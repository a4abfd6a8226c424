"""A whole fleet as it is run: ``cortex serve`` processes, ``cortex-neuron`` processes, and engines that really answer.

    with fleet(folder, {"a": (8000,), "b": (8000,)}, [entry("lab/x", weights, 3000)]) as it:
        it.gateway.ask("lab/x")

Each node has GPUs that are files (``board.py``). Everything is stopped by its id when the block ends; the logs stay in
``folder`` and are shown when the block fails.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openai
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.fleet.board import Board
from tests.integration.neuron.neuron_process import (
    LIMIT_S,
    NeuronProcess,
    answer_to,
    engines_ended,
    start,
    wait_until,
    wait_until_ready,
)

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model

Entry = dict[str, Any]
"""What the catalogue says of one model."""

HEAD = """
headroom_mb = {headroom_mb}
cpu_device = false
keep_engines = {keep_engines}
evict_grace_s = 1
max_wait_s = 4
lease_ttl_s = 3
drain_timeout_s = 30
"""
GATEWAY_TOML = """
[gateway]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
poll_s = 0.2
discovery_s = 2
shutdown_grace_s = 0
"""


def written(path: Path, *, layers: int = 4, takes_mb: int = 3000) -> Path:
    """Write a model that answers without an end, and beside it what an engine with it takes of its GPUs."""
    path.with_name(f"{path.name}.mb").write_text(str(takes_mb))
    return write_model(path, TinyModel(layers=layers, ctx=4096, eos_bias=None))


def entry(model_id: str, weights: Path, vram_mb: int, **more: object) -> Entry:
    """Return a catalogue entry."""
    return {"id": model_id, "harness": "llamacpp", "source": str(weights), "vram_mb": vram_mb, "context": 1024, **more}


class Node:
    """One GPU host: its GPUs, and the neuron process that runs now."""

    def __init__(self, folder: Path, name: str, total_mb: Sequence[int], head: str) -> None:
        self.name = name
        self.folder = folder
        self.board = Board(folder / "board", total_mb)
        self._head = head
        self.neuron = self._start(0)

    def _start(self, port: int) -> NeuronProcess:
        harness = f'[[harnesses]]\nname = "llamacpp"\nbinary = "{self.board.server}"\n'
        env = self.board.environment(os.environ)
        return start(self.folder, harness, head=self._head, env=env, port=port)

    def restart(self) -> None:
        """Start another neuron where the last one was, which must have ended; its state is kept."""
        self.neuron = self._start(int(self.neuron.url.rsplit(":", 1)[1]))
        wait_until_ready(self.neuron)

    def states(self) -> dict[str, str]:
        """Return the state of every model that it has heard of."""
        return {report["id"]: report["status"] for report in self.neuron.get("/models")[1]}

    def loaded(self) -> set[str]:
        return {model_id for model_id, status in self.states().items() if status == "loaded"}

    def loads(self, model_id: str | None = None) -> int:
        """Return how many engines it has begun to load."""
        return len(re.findall(rf"{re.escape(model_id) if model_id else r'[^ ]+'}: loading on devices", self.neuron.log))

    def cycles(self) -> int:
        """Return how often its harness has unloaded something since it was last restarted."""
        (harness,) = self.neuron.get("/health")[1]["harnesses"]
        return int(harness["cycles"])

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.neuron.process

    def engine_pid(self, model_id: str) -> int:
        """Return the process of a model's engine, as the neuron has written it down."""
        records = (json.loads(file.read_bytes()) for file in (self.folder / "state" / "engine").glob("*.json"))
        return next(record["handle"]["pid"] for record in records if record["model_id"] == model_id)

    def load(self, one: Entry, **more: object) -> None:
        """Load a model as an operator does, as soon as the node will, and wait until it serves."""
        wish = {key: value for key, value in one.items() if key not in ("id", "harness")}
        answers: list[object] = []

        def is_taken() -> bool:
            answers.append(self.neuron.load(one["id"], **{**wish, **more}))
            return answers[-1][0] == 200  # type: ignore[index]

        wait_until(is_taken, lambda: str(answers[-1:]))
        self.neuron.until(one["id"], "loaded")


class GatewayProcess:
    """One ``cortex serve``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        env = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
        argv = [sys.executable, "-P", "-m", "cortex", "serve", "--config", str(folder / "cortex.toml")]
        with (folder / "gateway.log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.url = ""
        self.metrics_url = ""

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def wait_until_ready(self) -> None:
        """Wait until it says where it listens, and has asked every neuron once."""

        def is_listening() -> bool:
            assert self.process.poll() is None, self.log
            found = re.search(r"API on (\S+), metrics on (\S+)", self.log)
            if found:
                self.url, self.metrics_url = f"http://{found[1]}", f"http://{found[2]}/metrics"
            return found is not None

        wait_until(is_listening, lambda: self.log)
        wait_until(lambda: self.get("/readyz")[0] == 200, lambda: self.log)

    def get(self, path: str, body: object = None) -> tuple[int, Any]:
        """Send one request (POST when there is a body); return status and decoded answer."""
        return answer_to(self.url + path, body)

    def decided(self, after: int = 0) -> list[tuple[str, str, str]]:
        """Return kind, model and node of every decision after a numbered one, in order."""
        told = self.get(f"/admin/v1/decisions?since={after}&limit=1000")[1]["decisions"]
        return [(one["kind"], one["model"], one["node"]) for one in told]

    def decisions(self) -> int:
        """Return the number of the newest decision."""
        return int(self.get("/admin/v1/decisions?limit=1")[1]["newest"])

    def ask(self, model: str, **more: object) -> tuple[int, Any]:
        """Send one short chat that is not streamed."""
        return self.get("/v1/chat/completions", chat(model, **more))

    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=LIMIT_S)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        with urllib.request.urlopen(self.metrics_url, timeout=LIMIT_S) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def waiting(self) -> int:
        return int(self.metric("cortex_requests_waiting"))

    def is_at_rest(self) -> bool:
        return not self.waiting() and not self.metric("cortex_requests_in_flight")

    def kill(self) -> None:
        """Let it be gone in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Fleet:
    """The processes of one fleet."""

    def __init__(self, folder: Path, catalogue: Iterable[Entry]) -> None:
        self.folder = folder
        self.catalogue = {one["id"]: one for one in catalogue}
        self.nodes: dict[str, Node] = {}
        self.gateways: list[GatewayProcess] = []

    @property
    def gateway(self) -> GatewayProcess:
        return self.gateways[0]

    def node(self, name: str) -> Node:
        return self.nodes[name]

    def where(self, model_id: str) -> list[str]:
        """Return the nodes that have a model loaded."""
        return [name for name, node in self.nodes.items() if model_id in node.loaded()]

    def loads(self, model_id: str | None = None) -> int:
        """Return how many loads were begun, on all nodes."""
        return sum(node.loads(model_id) for node in self.nodes.values())

    def refusals(self) -> list[str]:
        """Return what engines said that did not get their memory, on any node."""
        return [line for node in self.nodes.values() for line in node.board.refusals()]

    def start_gateway(self, more: str = "") -> GatewayProcess:
        """Start one more gateway; it is not waited for."""
        folder = self.folder / f"gateway{len(self.gateways)}"
        folder.mkdir()
        neurons = "".join(
            f'\n[[neurons]]\nname = "{name}"\nendpoint = "{node.neuron.url}"\n' for name, node in self.nodes.items()
        )
        (folder / "cortex.toml").write_text(GATEWAY_TOML + more + neurons)
        write_catalogue(folder, self.catalogue.values())
        self.gateways.append(GatewayProcess(folder))
        return self.gateways[-1]

    def change(self, *entries: Entry) -> None:
        """Put these entries into the catalogue of every gateway, and wait until it is read."""
        self.catalogue |= {one["id"]: one for one in entries}
        for gateway in self.gateways:
            before = gateway.log.count("catalogue reloaded")
            write_catalogue(gateway.folder, self.catalogue.values())
            gateway.process.send_signal(signal.SIGHUP)
            self.wait_until(lambda gateway=gateway, before=before: gateway.log.count("catalogue reloaded") > before)

    def stop(self) -> None:
        """End every process that still runs, and see that it is gone."""
        processes = [one.process for one in (*self.gateways, *self.nodes.values())]
        for process in processes:
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LIMIT_S)
            process.kill()
            process.wait()

    def unload_all(self) -> None:
        """Empty every node, so that the next test begins with nothing."""
        for node in self.nodes.values():
            for model_id in node.loaded():
                assert node.neuron.unload(model_id, force=True)[0] in (200, 404)
            wait_until(lambda node=node: not set(node.states().values()) - {"unloaded", "failed"}, self.logs)

    @contextlib.contextmanager
    def from_nothing(self) -> Iterator[None]:
        """Let a test begin with nothing loaded, and see that it leaves nothing in flight."""
        self.unload_all()
        yield
        for gateway in self.gateways:
            self.wait_until(gateway.is_at_rest)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; fail with everybody's logs when it never is."""
        wait_until(is_so, self.logs)

    def logs(self) -> str:
        """Return the end of what every process wrote."""
        files = sorted(self.folder.glob("*/*.log"))
        return "\n".join(f"---- {file.relative_to(self.folder)}\n{file.read_text()[-6000:]}" for file in files)


@contextlib.contextmanager
def fleet(
    folder: Path,
    nodes: Mapping[str, Sequence[int]],
    catalogue: Iterable[Entry],
    *,
    gateways: int = 1,
    gateway: str = "",
    neuron: str = "",
    keep_engines: bool = False,
    headroom_mb: int = 0,
) -> Iterator[Fleet]:
    """Run a fleet. ``nodes``: the memory of each node's GPUs; ``gateway``, ``neuron``: more of their configuration."""
    it = Fleet(folder, catalogue)
    head = HEAD.format(keep_engines=str(keep_engines).lower(), headroom_mb=headroom_mb) + neuron
    with contextlib.ExitStack() as stack:
        for name in nodes:
            (folder / name).mkdir(parents=True)
            stack.enter_context(engines_ended(folder / name))
        stack.callback(it.stop)
        try:
            for name, total_mb in nodes.items():
                it.nodes[name] = Node(folder / name, name, total_mb, head)
            for node in it.nodes.values():
                wait_until_ready(node.neuron)
            for _ in range(gateways):
                it.start_gateway(gateway)
            for process in it.gateways:
                process.wait_until_ready()
            yield it
        except BaseException:
            print(it.logs())
            raise


def write_catalogue(folder: Path, catalogue: Iterable[Entry]) -> None:
    """Write ``models.toml`` at once, so that nobody reads half of it."""
    draft = folder / "models.draft"
    tables = ("".join(f"{key} = {json.dumps(value)}\n" for key, value in one.items()) for one in catalogue)
    draft.write_text("\n".join(f"[[models]]\n{table}" for table in tables))
    draft.rename(folder / "models.toml")


def chat(model: str, **more: object) -> dict[str, object]:
    """Return the body of one short chat whose answer is always the same."""
    ask = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}
    return {**ask, **more}
