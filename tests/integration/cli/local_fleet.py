"""``cortex up`` as a person runs it: a process that is read from, signalled and waited for."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.port import free_port

from cortex.neuron.process.child import start_ticks

LIMIT_S = 60.0


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    ticks: int
    command: str

    def is_running(self) -> bool:
        try:
            return start_ticks(self.pid) == self.ticks and state_of(self.pid) != "Z"
        except (OSError, IndexError):
            return False

    def ended(self) -> bool:
        """Wait until it is gone; False when it is still there after the limit."""
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if self.is_running():
                    select.select([pidfd], [], [], LIMIT_S)
            finally:
                os.close(pidfd)
        return not self.is_running()


class LocalFleetProcess:
    """One ``cortex up``, its output line by line."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.lines: list[str] = []

    def wait_until(self, words: str) -> None:
        """Read until a line holds ``words``; fail with all that was said when the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if words in line:
                return
        raise AssertionError("\n".join(self.lines))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the rest of what was said."""
        rest, _ = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, rest

    def descendants(self) -> list[Process]:
        """Return every process below this one: daemons and engines."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
        found, wanted = [], [self.process.pid]
        while wanted:
            for pid in parents.get(wanted.pop(), ()):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(Process(pid, start_ticks(pid), command))
                wanted.append(pid)
        return found

    def child(self, words: str) -> Process:
        return next(process for process in self.descendants() if words in process.command)


@contextlib.contextmanager
def local_fleet(
    tmp_path: Path, *options: str, port: int | None = None, stdin: int = subprocess.DEVNULL
) -> Iterator[LocalFleetProcess]:
    """Start ``cortex up``; whatever the test does, nothing of it is left running."""
    port = port or free_port()
    (tmp_path / "tmp").mkdir(exist_ok=True)
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")},
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cortex", "up", "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=stdin,
        text=True,
        env=env,
        cwd=tmp_path,
    )
    try:
        yield LocalFleetProcess(process, port)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
