"""Runs one small program to its end, again and again, from a worker thread: never longer than a deadline.

One that does not end is killed, with what it has started. One that even that does not end hangs in the kernel, as
programs do that ask a driver which does not answer: it is not waited for, and no second one is started beside it.
"""

import contextlib
import os
import signal
import subprocess
from typing import NamedTuple

DEADLINE_S = 10.0
KILL_WAIT_S = 1.0


class Said(NamedTuple):
    """What a program gave. Bytes that are no text are replaced."""

    code: int
    out: str
    err: str


class Program:
    """A command, found on PATH when it is a bare name."""

    def __init__(self, command: str, *, deadline_s: float = DEADLINE_S, kill_wait_s: float = KILL_WAIT_S) -> None:
        self.command = command
        self._deadline_s = deadline_s
        self._kill_wait_s = kill_wait_s
        self._stuck: subprocess.Popen[str] | None = None

    def run(self, *args: str) -> Said:
        """Run it with these arguments. Raises: OSError when it cannot be started or does not end (TimeoutError)."""
        if self._stuck is not None and self._stuck.poll() is None:
            raise TimeoutError(f"process {self._stuck.pid} hangs in the kernel")
        self._stuck = None
        process = subprocess.Popen(
            [self.command, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=self._deadline_s)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise TimeoutError(f"no answer within {self._deadline_s:g} s") from None
        return Said(process.returncode, out, err)

    def _end(self, process: "subprocess.Popen[str]") -> None:
        with contextlib.suppress(ProcessLookupError):  # it may be a script, and what hangs its child
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        try:
            process.wait(self._kill_wait_s)
        except subprocess.TimeoutExpired:
            self._stuck = process
