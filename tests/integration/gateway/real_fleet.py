"""A whole fleet without a fake in it: a ``cortex-neuron`` process with real engines, and a gateway in front of it.

The gateway runs in this process, on a loop of its own in a thread, so that synchronous SDKs can be used beside it; or
as the process that ``cortex serve`` is.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.integration.gateway.raw_client import LIMIT_S
from tests.port import free_port

from cortex.contract.profile import Profile
from cortex.gateway.app import Gateway
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.clock import SystemClock
from cortex.kit.trace_setting import TraceSection

NEURON_TOML = """
port = {port}
host = "127.0.0.1"
state_dir = "state"
drain_timeout_s = 5
keep_engines = false

[[harnesses]]
name = "llamacpp"
"""


class Neuron:
    """One ``cortex-neuron``, asked as a gateway asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def report(self, model: str) -> dict:
        """Return what it says of a model; a state of its own for one that it has never heard of."""
        found = [report for report in self.get("/models") if report["id"] == model]
        return found[0] if found else {"status": "unknown", "generation": 0}

    def unload(self, model: str) -> None:
        assert self.post("/models/unload", {"model_id": model})["status"] == "unloaded"

    def engine_metrics(self, model: str) -> dict[str, float]:
        """Return what the engine itself counts."""
        url = self.get(f"/models/{model}/endpoint")["url"]
        with urllib.request.urlopen(url + "/metrics", timeout=LIMIT_S) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("llamacpp:"): float(value) for name, value in pairs}

    def is_idle(self, model: str) -> bool:
        counts = self.engine_metrics(model)
        return counts["requests_processing"] == counts["requests_deferred"] == 0


@contextlib.contextmanager
def neuron(folder: Path, toml: str = NEURON_TOML) -> Iterator[Neuron]:
    """Run a neuron; it and its engines are gone when the block ends."""
    port = free_port()
    (folder / "neuron.toml").write_text(toml.format(port=port))
    with process(folder, "neuron", "-m", "cortex.cli.neuron", "--config", "neuron.toml") as running:
        it = Neuron(f"http://127.0.0.1:{port}")
        wait_until(lambda: is_ready(it.url), running, folder / "neuron.log")
        yield it


@contextlib.contextmanager
def process(folder: Path, name: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process in ``folder`` with its output in ``<name>.log``; it is gone when the block ends."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-P", *argv], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=LIMIT_S) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except urllib.error.URLError:
        return False


def wait_until(
    is_so: Callable[[], bool], running: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    """Look every few milliseconds whether another process has come so far; it must still run where one is given."""
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert running is None or running.poll() is None, log and log.read_text()
        assert time.monotonic() < limit, log.read_text() if log else "it never became so"
        select.select([], [], [], 0.005)


class Thread(NamedTuple):
    """A gateway in a thread of its own."""

    gateway: Gateway
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something where the gateway runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def in_flight(self) -> int:
        """Return the gateway's count, taken between two steps of its loop."""

        async def count() -> int:
            return self.gateway.in_flight()

        return self.run(count())


@contextlib.contextmanager
def gateway(
    neuron_url: str,
    profiles: tuple[Profile, ...],
    *,
    token_file: str | None = None,
    also: Mapping[str, str] = MappingProxyType({}),
    trace: TraceSection = TraceSection(),  # noqa: B008 - it cannot change
    **section: Any,
) -> Iterator[Thread]:
    """Run a gateway in a thread. ``also``: the URLs of further neurons, by name."""
    free = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "access_log": False, "poll_s": 0.5}
    settings = GatewaySettings(
        gateway=GatewaySection(**{**free, **section}),
        trace=trace,
        neurons=(
            NeuronEntry(name="n0", endpoint=neuron_url, token_file=token_file),
            *(NeuronEntry(name=name, endpoint=url) for name, url in also.items()),
        ),
    )
    up: concurrent.futures.Future[Thread] = concurrent.futures.Future()
    leave = threading.Event()

    async def live() -> None:
        loop = asyncio.get_running_loop()
        try:
            it = Gateway(settings, profiles, clock=SystemClock(), rng=Random(1))
            await it.start()
        except BaseException as error:
            up.set_exception(error)
            raise
        up.set_result(Thread(it, loop))
        await loop.run_in_executor(None, leave.wait)
        await it.stop(1)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        running = up.result(LIMIT_S)
        wait_until(lambda: is_ready(running.url))
        yield running
    finally:
        leave.set()
        thread.join(LIMIT_S)
