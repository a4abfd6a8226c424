"""Daemons of the pages: started as they stand there, at other ports, asked for something, and told to stop."""

import contextlib
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.docs.block import ROOT, blocks_of
from tests.docs.fleet import LIMIT_S, Fleet, ask
from tests.integration.cli.screen import on_screen
from tests.integration.gateway.real_fleet import is_ready, wait_until
from tests.port import free_port

DAEMON = re.compile(r"^(?:\S+/)?(?:cortex serve\b|cortex-neuron$|make run\b)")

GATEWAY = """
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics_port}"
reuse_port = true

[[neurons]]
name = "beast"
endpoint = "{neuron}"
"""

NEURON = """
port = {port}
host = "127.0.0.1"
state_dir = "state"

[[harnesses]]
name = "llamacpp"
"""

ENDS = (0, 2, 130, -signal.SIGINT)
"""make says in its own ways that it was stopped by Ctrl-C."""


@contextlib.contextmanager
def started(text: str, it: Fleet) -> Iterator[str]:
    """Run a daemon until the block ends, and yield what it said; ``text`` is what the command is here.

    It must get ready, do what it is for, and stop when it is told to.
    """
    port, metrics_port = free_port(), free_port()
    write_configuration(it, port, metrics_port)
    log = it.folder / f"daemon-{port}.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["bash", "-c", at_ports(text, port, metrics_port)],
            cwd=it.host.node if text.endswith("cortex-neuron") else it.host.etc,
            env=it.environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        wait_until(lambda: is_up(text, port, metrics_port, log), running, log)
        if text.startswith("make"):
            assert ask(f"http://127.0.0.1:{port}")
        if text == "make run":
            missing = [line for line in promised(port) if line not in log.read_text().splitlines()]
            assert not missing, f"docs/getting-started.md promises {missing}"
        yield log.read_text()
        assert running.poll() is None, log.read_text()
        os.killpg(running.pid, signal.SIGINT if text.startswith("make") else signal.SIGTERM)
        assert running.wait(LIMIT_S) in ENDS, f"{text}\n{log.read_text()}"
    finally:
        end(running)


def promised(port: int) -> list[str]:
    """Return what the page for beginners says that ``make run`` says, at another port."""
    (block,) = [
        block for block in blocks_of(ROOT / "docs" / "getting-started.md") if block.text.startswith("cortex is up")
    ]
    return block.text.replace(":8000", f":{port}").splitlines()


def end(running: subprocess.Popen[bytes]) -> None:
    """End what is left of a daemon and of all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(running.pid, number)
            running.wait(LIMIT_S / 3)
    running.wait()


def write_configuration(it: Fleet, port: int, metrics_port: int) -> None:
    """Write what daemons read by themselves. Gateways of one block have the same port, as their page says."""
    etc, said = it.host.etc, GATEWAY.format(port=it.host.port, metrics_port=metrics_port, neuron=it.node.url)
    (etc / "cortex.toml").write_text(said)
    (etc / "models.toml").write_text((it.folder / "models.toml").read_text())
    (it.host.node / "neuron.toml").write_text(NEURON.format(port=port))


def at_ports(text: str, port: int, metrics_port: int) -> str:
    """Return a daemon's command with ports that are free."""
    if text.startswith("make run"):
        rest = re.search(r'ARGS="(.*)"', text)
        others = re.sub(r"--port \d+", "", rest[1]) if rest else ""
        return f'make run ARGS="--port {port} {others}"'
    return re.sub(r"--metrics-listen \S+", f"--metrics-listen 127.0.0.1:{metrics_port}", text)


def is_up(text: str, port: int, metrics_port: int, log: Path) -> bool:
    if text.startswith("make run"):
        return f"http://127.0.0.1:{port}/v1" in log.read_text() and "cortex is up" in log.read_text()
    return has_metrics(metrics_port) if " serve" in text else is_ready(f"http://127.0.0.1:{port}")


def has_metrics(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as answer:
            return b"cortex_" in answer.read()
    except (urllib.error.URLError, ConnectionError):
        return False


def see(text: str, it: Fleet) -> str:
    """Run what wants a terminal on one, until it shows the fleet; then leave it."""
    with on_screen(*text.split()[1:], CORTEX_URL=it.url, HOME=str(it.folder)) as screen:
        seen = screen.wait_until(r"cortex ok, 1/1 nodes")
        screen.press(b"q")
        assert screen.end() == 0
    return seen
