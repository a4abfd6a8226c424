"""``cortex-neuron`` as a process of its own, with real engines; nothing of it is left when a test ends."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cortex.neuron.process.child import start_ticks

LIMIT_S = 60.0
LLAMACPP = '[[harnesses]]\nname = "llamacpp"\n'


class NeuronProcess:
    """One neuron; ``folder`` holds its configuration, its log and its state, which outlive it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], log_begin: int) -> None:
        self.folder = folder
        self.process = process
        self.url = ""
        self._log_begin = log_begin

    @property
    def log(self) -> str:
        """Return what this process wrote."""
        return (self.folder / "neuron.log").read_bytes()[self._log_begin :].decode()

    def get(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Send one request (POST when there is a body); return status and decoded answer."""
        return answer_to(self.url + path, body, headers)

    def load(self, model_id: str, source: Path | None = None, **more: object) -> tuple[int, Any]:
        """Ask for a load."""
        where = {} if source is None else {"source": str(source)}
        return self.get("/models/load", {"model_id": model_id, "harness": "llamacpp", **where, **more})

    def loaded(self, model_id: str, source: Path, **more: object) -> dict[str, Any]:
        """Load a model, wait until it serves, and return its endpoint."""
        status, answer = self.load(model_id, source, **more)
        assert status == 200, answer
        self.until(model_id, "loaded")
        return self.endpoint(model_id)

    def endpoint(self, model_id: str) -> dict[str, Any]:
        status, answer = self.get(f"/models/{model_id}/endpoint")
        assert status == 200, answer
        return dict(answer)

    def unload(self, model_id: str, **more: object) -> tuple[int, Any]:
        return self.get("/models/unload", {"model_id": model_id, **more})

    def report(self, model_id: str) -> dict[str, Any]:
        """Return a model's entry in the list, empty when it has none."""
        _, reports = self.get("/models")
        return next((report for report in reports if report["id"] == model_id), {})

    def until(self, model_id: str, status: str) -> dict[str, Any]:
        """Wait until a model is in a state, and return its entry."""
        wait_until(lambda: self.report(model_id).get("status") == status, lambda: str(self.report(model_id)) + self.log)
        return self.report(model_id)

    def engine_pids(self) -> list[int]:
        """Return the processes that the neuron has written down as its engines."""
        return [handle["pid"] for handle in _handles(self.folder) if handle["pid"]]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


@contextlib.contextmanager
def neuron(
    folder: Path, harnesses: str = LLAMACPP, *, head: str = "", env: dict[str, str] | None = None
) -> Iterator[NeuronProcess]:
    """Run a neuron on a free loopback port until it is ready; stop it and whatever engines it left."""
    running = start(folder, harnesses, head=head, env=env)
    try:
        wait_until_ready(running)
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(LIMIT_S)
        running.process.kill()
        running.process.wait()


@contextlib.contextmanager
def engines_ended(folder: Path) -> Iterator[None]:
    """End, after the block, every engine that neurons in this folder have left running."""
    try:
        yield
    finally:
        for handle in _handles(folder):
            with contextlib.suppress(OSError):
                if handle["pid"] and start_ticks(handle["pid"]) == handle["start_ticks"]:
                    os.kill(handle["pid"], signal.SIGKILL)


def start(
    folder: Path, harnesses: str, *, head: str = "", env: dict[str, str] | None = None, port: int = 0
) -> NeuronProcess:
    """Start a neuron without waiting for it; whoever calls this ends it."""
    config = folder / "neuron.toml"
    if "host" not in head:
        head = 'host = "127.0.0.1"\n' + head
    config.write_text(f'state_dir = "state"\n{head}\n{harnesses}')
    log = folder / "neuron.log"
    begin = log.stat().st_size if log.exists() else 0
    own = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
    argv = [sys.executable, "-P", "-m", "cortex.cli.neuron", "--config", str(config), "--port", str(port)]
    with log.open("ab") as stream:
        process = subprocess.Popen(argv, stderr=stream, stdin=subprocess.DEVNULL, env={**own, **(env or {})})
    return NeuronProcess(folder, process, begin)


def wait_until_ready(running: NeuronProcess) -> None:
    """Wait until a neuron says where it listens and that it is ready."""

    def is_listening() -> bool:
        assert running.process.poll() is None, running.log
        found = re.search(r"listening on http://[^:]+:(\d+)", running.log)
        running.url = f"http://127.0.0.1:{found[1]}" if found else ""
        return found is not None

    wait_until(is_listening, lambda: running.log)
    wait_until(lambda: running.get("/readyz")[0] == 200, lambda: running.log)


def answer_to(url: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Send one request (POST when there is a body); return status and decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_until(is_so: Callable[[], bool], words: Callable[[], str] = lambda: "") -> None:
    """Look every few milliseconds at what another process does, until something is so."""
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit, words()
        select.select([], [], [], 0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def chat(url: str, **more: object) -> str:
    """Have a short chat at an endpoint and return what the model said."""
    body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello!"}], **more}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def is_busy(url: str) -> bool:
    """Tell whether an engine has a request in it."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=LIMIT_S) as answer:
        return b"llamacpp:requests_processing 1" in answer.read()


def _handles(folder: Path) -> list[dict[str, int]]:
    found = []
    for file in (folder / "state" / "engine").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(file.read_bytes())["handle"])
    return found
