"""Starts the real embedded engine as a child process and stops it by its id; used by the tests beside this file."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Engine:
    """One running engine; ``url`` is its base, prefix included."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    prefix: str = ""

    def get(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Send one request (POST when there is a body) and return status and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path: str, body: object = None) -> dict:
        """Send one request, expect 200, and return the decoded body."""
        status, text = self.get(path, body)
        assert status == 200, text
        return json.loads(text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; a process that hangs in its end (30 s, seen once) fails the test."""
        self.process.send_signal(number)
        return self.process.wait(20)


def spawn(log: Path, *flags: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start ``python -m cortex.neuron.embedded`` with standard error in ``log``."""
    argv = [sys.executable, "-m", "cortex.neuron.embedded", *flags]
    with log.open("wb") as stderr:
        return subprocess.Popen(argv, stderr=stderr, env={**os.environ, **(env or {})})


@contextlib.contextmanager
def engine(model: Path, log: Path, *flags: str, prefix: str = "") -> Iterator[Engine]:
    """Run an engine on a free port until it is ready; it is gone when the block ends."""
    more = ("--api-prefix", prefix) if prefix else ()
    process = spawn(log, "--model", str(model), "--port", "0", "--threads", "1", *more, *flags)
    running = Engine(process, log, prefix=prefix)
    try:
        running.url = f"http://127.0.0.1:{listening_port(process, log)}{prefix}"
        while not obeys_sigterm(process.pid):  # it listens a moment before that, and is then ended by the signal itself
            look_again()
        yield running
    finally:
        process.kill()
        process.wait(10)


def listening_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Follow the log until the engine says where it listens, which it does once the model is loaded."""
    needle = "listening on http://127.0.0.1:"
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        for line in log.read_text().splitlines():
            if needle in line:
                return int(line.split(needle)[1].split("/")[0])
        assert process.poll() is None, log.read_text()
        look_again()
    raise AssertionError(log.read_text())


def obeys_sigterm(pid: int) -> bool:
    """Tell whether a process has a handler for SIGTERM. Source: proc(5), ``SigCgt``."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def look_again() -> None:
    """Yield the core for 5 ms between two looks at a file that another process writes."""
    select.select([], [], [], 0.005)
