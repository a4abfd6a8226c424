"""Starts the process that takes this one's place, and is such a process: listening sockets go from one to the other.

The new process is the same program, as it is installed now, with the same arguments. It gets the sockets as systemd
would hand them over, and one more: the line on which it says that it is ready, and hears that it is the service. Until
it has said so this process serves on; a successor that cannot start changes nothing.

    old                                 new
     | -- sockets, line -------------->  | starts
     | <------------------- "ready" ---  | accepts, too
     | -- "yours" -------------------->  | speaks to the service manager
     | accepts no more, ends by itself
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cortex.contract.error import CortexError
from cortex.kit.handed_socket import FIRST, LINE
from cortex.kit.startup import HELD

_EXEC = Path(__file__).with_name("handed_exec.py")
READY, YOURS = b"ready\n", b"yours\n"
STOP_S = 10.0
"""A successor that is not to be, and does not end when it is told to, is killed after this."""


class NoSuccessor(CortexError):
    """The process that was to take over did not get so far."""

    code = "no_successor"


def own_command() -> list[str]:
    """Return the command line by which this process can be started again."""
    return [sys.executable, *sys.orig_argv[1:]]


class Successor:
    """A process that is about to take over. Belongs to the running event loop."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self._line = line

    async def ready(self, limit_s: float) -> None:
        """Return when it serves. Raises: NoSuccessor, and then it is gone."""
        said = b""
        try:
            async with asyncio.timeout(limit_s):
                said = await asyncio.get_running_loop().sock_recv(self._line, len(READY))
        except TimeoutError:
            why = f"is not ready after {limit_s:g} s"
        except OSError as error:
            why = f"cannot be heard: {error.strerror}"
        else:
            if said == READY:
                return
            why = "ended"
        code = await self.stop()
        raise NoSuccessor(f"the process that was to take over {why} ({_how(code)}); its own words are above")

    def take_over(self) -> None:
        """Tell it that it is the service now."""
        with self._line, contextlib.suppress(OSError):
            self._line.send(YOURS)

    async def stop(self) -> int:
        """End it; return its exit code, negative for a signal. The line is held until then: it must not take over."""
        descriptor = os.pidfd_open(self.pid)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(descriptor, number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await ended.wait()
                        break
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._line.close()
        _, status = os.waitpid(self.pid, 0)  # noqa: ASYNC222  # it has ended
        return os.waitstatus_to_exitcode(status)


class Predecessor:
    """The process whose place this one takes, at the other end of the line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    async def relieve(self) -> None:
        """Say that this process serves, and return when it is the service; at once when the other one is gone."""
        loop = asyncio.get_running_loop()
        with self._line, contextlib.suppress(OSError):
            await loop.sock_sendall(self._line, READY)
            await loop.sock_recv(self._line, len(YOURS))


def start_successor(
    handed: Mapping[str, Sequence[socket.socket]], more: Mapping[str, str], command: Sequence[str]
) -> Successor:
    """Start ``command`` with these sockets, and with the environment of this process and ``more``. Raises: OSError."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs, contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        pid = _spawn(
            [*((name, sock) for name, socks in handed.items() for sock in socks), (LINE, theirs)], more, command
        )
        undo.pop_all()
    return Successor(pid, ours)


def _spawn(named: Sequence[tuple[str, socket.socket]], more: Mapping[str, str], command: Sequence[str]) -> int:
    env = {
        **os.environ,
        **more,
        "LISTEN_FDS": str(len(named)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in named),
    }
    copies: list[int] = []
    try:
        for _, sock in named:  # out of the way of the numbers that they are to have
            copies.append(fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST + len(named)))
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(_EXEC), *command],
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, copy, number) for number, copy in enumerate(copies, FIRST)],
            setsigmask=HELD,
            setsigdef=(signal.SIGPIPE,),
        )
    finally:
        for copy in copies:
            os.close(copy)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
