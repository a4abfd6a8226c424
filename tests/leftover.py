"""Ends the processes that a test worker leaves when it dies: its servers, neurons and engines, and nobody else's.

A worker that ends by itself has stopped what it started; one that was killed has not. pytest-xdist gives every worker
the run's id and a name of its own as variables, which what it starts inherits: by these two they are found.
"""

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

import pytest

RUN, WORKER = "PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER"
GRACE_S = 5.0
"""What a process has to end in order before it is killed."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """End what a worker has left, when it did not come to its own end."""
    if error:
        end_all(processes_of(node.workerinput["testrunuid"], node.workerinput["workerid"]))


def processes_of(run: str, worker: str) -> list[int]:
    """Return the processes that a worker, or one that it started, has started."""
    wanted = {f"{RUN}={run}".encode(), f"{WORKER}={worker}".encode()}
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone, or another user's
            if wanted <= set(file.read_bytes().split(b"\0")):
                found.append(int(file.parent.name))
    return found


def end_all(pids: list[int], grace_s: float = GRACE_S) -> None:
    """Ask processes to end, frozen ones too, and kill those that have not after ``grace_s``; wait until they are gone.

    One that the kernel does not let go is left to itself after as much time again.
    """
    left = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            left.append(os.pidfd_open(pid))
    _send(left, signal.SIGTERM, signal.SIGCONT)
    for number in (signal.SIGKILL, None):
        limit = time.monotonic() + grace_s
        while left and (rest_s := limit - time.monotonic()) > 0:
            for ended in select.select(left, [], [], rest_s)[0]:
                left.remove(ended)
                os.close(ended)
        if number is not None:
            _send(left, number)
    for descriptor in left:
        os.close(descriptor)


def _send(pidfds: list[int], *numbers: signal.Signals) -> None:
    for pidfd in pidfds:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
