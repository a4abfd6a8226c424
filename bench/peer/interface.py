"""What the benchmark needs to know about a gateway: how to get it, how to start it, how much to ask of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.child import Child
from bench.place import Cores
from bench.port import status_of

KEY = "sk-bench-7Qd2fWbC9xLmPz4TnRvK8sYhJ6gE3aU5"
"""The credential that every request carries, long and mixed enough for a gateway that refuses weak ones."""

MODEL = "bench"
POLL_S = 0.002

SETTLE_WINDOW_S = 0.2
SETTLE_LIMIT_S = 60.0
IDLE_SHARE = 0.2


class UnavailableError(Exception):
    """This gateway cannot be measured here; the message is the reason that stands in its row."""


@dataclass(frozen=True)
class Pace:
    """How much load a gateway is sure to carry; the default is for those that cost microseconds.

    Who cannot carry the common load is measured at its own, and the results say so.
    """

    connections: int = 32
    streams: int = 200
    opening: int = 32
    """Streams that may wait for their first chunk while many are opened."""
    open_streams: int = 2_000
    """How many are open at once for the sake of their memory."""
    idle_interval_s: float = 5.0
    """Between two chunks of a stream that is open for the sake of its memory."""
    slow_readers: int = 20
    slow_chunks: int = 100_000
    """Of a slow reader's stream: about 20 MB, far more than sockets and a sane gateway hold."""
    is_common: bool = True


@dataclass(frozen=True)
class Site:
    """Where a gateway is started: its folder, the upstream's port, the cores."""

    folder: Path
    upstream_port: int
    cores: Cores

    def gateway_child(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Child:
        return Child(argv, core=self.cores.gateway, log=self.folder / "gateway.log", env=env, cwd=cwd or self.folder)


@dataclass
class Running:
    """A gateway that answers; ``ready_s`` is from its exec to its first 200, ``others`` are not measured."""

    name: str
    port: int
    child: Child
    ready_s: float
    pace: Pace = field(default_factory=Pace)
    others: list[Child] = field(default_factory=list)
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where it takes streams in other dialects than the upstream's, by the dialect's name."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why it is not asked in one of these, where it could be thought to take it."""

    def why_not(self, dialect: str) -> str:
        return self.reasons.get(dialect, "it does not translate")

    def stop(self) -> None:
        self.child.stop()
        for other in self.others:
            other.stop()


def settle(child: Child) -> None:
    """Wait until a gateway has done with what the last case left to it: aborted streams, a collection of garbage."""
    deadline_s = time.monotonic() + SETTLE_LIMIT_S
    while child.is_running() and time.monotonic() < deadline_s:
        before_s = child.cpu_s()
        time.sleep(SETTLE_WINDOW_S)
        if child.cpu_s() - before_s < IDLE_SHARE * SETTLE_WINDOW_S:
            return


class Peer(Protocol):
    """One gateway of the comparison."""

    name: str
    about: str
    """How it is set up, in one line of the results."""
    pace: Pace
    starts: int
    """How often it is started to measure how long that takes."""

    def install(self) -> str:
        """Make it available, return its version. Raises: UnavailableError."""
        ...

    def start(self, site: Site) -> Running:
        """Start it and wait until it answers. Raises: UnavailableError."""
        ...


def wait_ready(child: Child, port: int, path: str, limit_s: float) -> float:
    """Return the seconds from the start of ``child`` to the first 200 on ``path``. Raises: UnavailableError."""
    while (passed_s := time.monotonic() - child.started_s) < limit_s:
        if status_of(port, path) == 200:
            return time.monotonic() - child.started_s
        if not child.is_running():
            raise UnavailableError(f"ended at once: {_last_line(child)}")
        time.sleep(POLL_S if passed_s < 3 else 0.05)
    child.stop()
    raise UnavailableError(f"not ready after {limit_s:.0f} s: {_last_line(child)}")


def _last_line(child: Child) -> str:
    lines = [line.strip() for line in child.last_words().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"
