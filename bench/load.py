"""Runs the load client and reads what it measured.

``run`` waits for the end; ``held`` gives control as soon as all streams are open, for cases that look at the gateway or
harm the upstream meanwhile.
"""

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.child import Child
from bench.peer.interface import KEY, MODEL, Running
from bench.upstream import Upstream

UNLIMITED = 1_000_000
"""Chunks of a stream that shall not end within a measurement."""


Option = float | str | Path
"""What the client may be told: numbers, names and files."""


class LoadError(Exception):
    """The client could not measure; the message says what it said."""


class Reading(NamedTuple):
    """What one run of the client measured; times in microseconds, CPU time over the measured window."""

    raw: dict[str, Any]

    @property
    def window_s(self) -> float:
        return float(self.raw["window_ns"]) / 1e9

    @property
    def gateway_cpu_us(self) -> float:
        return float(sum(self.raw["cpu_ns"][:-1])) / 1e3

    @property
    def load_cpu_us(self) -> float:
        """Return what upstream and client spent together."""
        return float(self.raw["cpu_ns"][-1] + self.raw["own_cpu_ns"]) / 1e3

    def count(self, what: str, target: str = "gateway") -> int:
        return int(self.raw[target][what])

    def quantile_us(self, what: str, quantile: str, target: str = "gateway") -> float:
        return float(self.raw[target][what][quantile]) / 1e3

    def samples(self, what: str, target: str = "gateway") -> int:
        return int(self.raw[target][what]["count"])

    def added_us(self, what: str, quantile: str) -> float:
        """Return via the gateway minus direct, of one quantile of both."""
        return self.quantile_us(what, quantile) - self.quantile_us(what, quantile, "direct")

    def outcomes(self, target: str = "gateway") -> dict[str, int]:
        return dict(self.raw[target]["outcomes"])

    def failures(self) -> Counter[str]:
        """Return how exchanges via the gateway ended that should have been answered; ``unsent`` were never begun."""
        found = Counter(self.outcomes()) + Counter(unsent=int(self.raw["unsent"]))
        del found["done"]
        return found


class Load:
    """The client of ``native/client.c`` on its core."""

    def __init__(self, program: Path, core: int, upstream: Upstream, folder: Path) -> None:
        self._program, self._core, self._upstream = program, core, upstream
        self._folder = folder
        self._log = folder / "client.log"

    def keep(self, name: str, body: bytes) -> Path:
        """Write down a request's body for the client's ``body_file``."""
        path = self._folder / name
        path.write_bytes(body)
        return path

    def run(self, gateway: Running, mode: str, **options: Option) -> Reading:
        with self._started(gateway, mode, options) as child:
            return _result(child)

    @contextlib.contextmanager
    def held(self, gateway: Running, **options: Option) -> Iterator["Held"]:
        """Give control while the streams are open; they end at the end of the block."""
        with self._started(gateway, "hold", options) as child:
            yield Held(child, _event(child, "open"))

    @contextlib.contextmanager
    def _started(self, gateway: Running, mode: str, options: dict[str, Option]) -> Iterator[Child]:
        argv = [self._program, "--mode", mode, "--gateway", str(gateway.port), "--upstream", str(self._upstream.port)]
        for name, value in {"key": KEY, "model": MODEL, **options}.items():
            argv += [f"--{name.replace('_', '-')}", str(value)]
        for pid in [*gateway.child.pids(), self._upstream.child.pid]:
            argv += ["--pid", str(pid)]
        child = Child(argv, core=self._core, log=self._log, stdout=subprocess.PIPE)
        try:
            yield child
        finally:
            child.stop()


class Held:
    """Streams that are open; ``opened`` of them were when the client went on."""

    def __init__(self, child: Child, event: dict[str, Any]) -> None:
        self._child = child
        self.opened = int(event["open"])
        self.took_s = float(event["took_ns"]) / 1e9

    def result(self) -> Reading:
        return _result(self._child)


def _result(child: Child) -> Reading:
    reading = Reading(_event(child, "result"))
    child.wait(10)
    return reading


def _event(child: Child, name: str) -> dict[str, Any]:
    for line in child.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise LoadError(f"the load client ended without a result: {child.last_words(3)}")
