"""Runs programs of the host for what they say: in the C locale, never asking anybody anything, ended with their check.

One that does not end although it is killed hangs in a driver; only a thread that nobody waits for stays with it.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from cortex.cli.doctor.examination import in_thread
from cortex.cli.doctor.finding import Skip


class Said(NamedTuple):
    """What a program gave; bytes that are no text are replaced."""

    code: int
    out: str
    err: str


class Programs:
    """Programs on the PATH of ``env``."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {**env, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}

    async def run(self, program: str, *args: str) -> Said:
        """Run one to its end. Raises: Skip when it is not installed, or cannot be started."""
        process = self._started(program, *args)  # not in a thread: a check that ends meanwhile would leave it running
        try:
            out, err = await in_thread(process.communicate)
        finally:
            if process.returncode is None:  # the deadline has passed
                with contextlib.suppress(ProcessLookupError):  # it may be a script, and what hangs its child
                    os.killpg(process.pid, signal.SIGKILL)
        return Said(process.returncode, out, err)

    def _started(self, program: str, *args: str) -> "subprocess.Popen[str]":
        try:
            return subprocess.Popen(
                [program, *args],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Skip(f"{program} is not installed") from None
        except OSError as exc:
            raise Skip(f"{program} cannot be started: {os.strerror(exc.errno or 0)}") from None
