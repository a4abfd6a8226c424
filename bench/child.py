"""A process of the benchmark: pinned to a core, logged to a file, ended by its own id with everything it started."""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

STOP_S = 10.0


class Child:
    """One started program; ``pids()`` are it and its descendants."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        core: int,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        self.log = log
        self.started_s = time.monotonic()

        def place() -> None:
            os.sched_setaffinity(0, {core})
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                preexec_fn=place,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def is_running(self) -> bool:
        return self._process.poll() is None

    def pids(self) -> list[int]:
        return [self.pid, *_descendants(self.pid)]

    def rss_kib(self) -> int:
        """Return the resident memory of the whole tree; pages that its processes share count for each."""
        return sum(_rss_kib(pid) for pid in self.pids())

    def cpu_s(self) -> float:
        """Return the CPU time that the tree has spent, to the hundredth."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the tree: politely, and whatever is left of it after ``STOP_S`` by force."""
        tree = self.pids()
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(STOP_S)
        for pid in tree[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.is_running():
            self.kill()

    def last_words(self, count: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        # The name in brackets may hold anything, so fields are counted from the bracket's end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _rss_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
