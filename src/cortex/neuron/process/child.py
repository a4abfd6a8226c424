"""One child process: spawned into a session of its own with its output in a file, or found again after a restart.

It is watched through a pidfd, so a process that an earlier neuron started is watched in the same way, and a signal can
never hit another process that got the same number. Belongs to the event loop it was made in.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TETHER = Path(__file__).with_name("tether.py")
_RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that Python or a shell may have set to be ignored, which a child would inherit."""

_POLITE = signal.SIGTERM
"""Under a name of its own: in the class below ``signal`` is a method."""

KILL_WAIT_S = 10.0
"""A process that is still there so long after SIGKILL hangs in the kernel (a driver that does not answer)."""


class Child:
    """A process by its pid, and the moment it started as the kernel counts (``start_ticks``)."""

    def __init__(self, pid: int, *, is_ours: bool) -> None:
        """Raises: OSError when there is no such process."""
        self.pid = pid
        self._is_ours = is_ours
        self._pidfd = os.pidfd_open(pid)
        try:
            # In this order: what is watched is then never younger than what the ticks say.
            self.start_ticks = start_ticks(pid)
        except OSError:
            os.close(self._pidfd)
            raise
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._note_end)

    @property
    def is_running(self) -> bool:
        """Whether its end has not been seen yet."""
        return not self._ended.done()

    async def wait(self) -> int | None:
        """Return the exit code, negative for a signal, once it has ended; None where only its parent knows."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended gets none."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, grace_s: float, first: int = _POLITE) -> bool:
        """End it with its group: SIGTERM or another ``first`` signal, after ``grace_s`` SIGKILL. False: still there."""
        self._signal_group(first)
        if await self._ends_within(grace_s):
            return True
        self._signal_group(signal.SIGKILL)
        return await self._ends_within(KILL_WAIT_S)

    def let_go(self) -> None:
        """Stop watching; the process goes on. A second time changes nothing."""
        if self.is_running:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.cancel()

    def _signal_group(self, number: int) -> None:
        """Signal the whole group that ``spawn`` made it lead: a program may be a script, and the engine its child."""
        if self.is_running:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):  # found again, and no leader
                self.signal(signal.Signals(number))

    async def _ends_within(self, limit_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.wait()
        return not self.is_running

    def _note_end(self) -> None:
        code: int | None = None
        if self._is_ours:
            # While it is a zombie no other group can have its number: what it left behind is surely its own.
            self._signal_group(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self._ended.done():
            self._ended.set_result(code)


def spawn(argv: Sequence[str], env: Mapping[str, str], log: Path, *, is_tethered: bool) -> Child:
    """Start a program in a session of its own, its output appended to ``log``.

    Tethered, the kernel kills it when this process ends. Raises: OSError when the program cannot be started; for a
    tethered one that shows as exit code 127 and a line in the log.
    """
    if is_tethered:
        argv = (sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *argv)
    pid = os.posix_spawnp(
        argv[0],
        list(argv),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_RESET,
    )
    try:
        return Child(pid, is_ours=True)
    except OSError:  # no descriptor left to watch it by: nobody would
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def attach(pid: int, ticks: int) -> Child | None:
    """Watch a process that runs already, if it is still the one that started at ``ticks``.

    One that has ended, and that its new parent has not been told of yet (a zombie), runs no more.
    """
    try:
        if _stat(pid)[0] == b"Z":
            return None
        child = Child(pid, is_ours=False)
    except OSError:
        return None
    if child.start_ticks == ticks:
        return child
    child.let_go()
    return None


def identity(pid: int) -> tuple[int, int]:
    """Return a process with its start, which nobody else has; zeros for none."""
    try:
        return (pid, start_ticks(pid)) if pid else (0, 0)
    except OSError:
        return 0, 0


def may_run(process: tuple[int, int]) -> bool:
    """Tell whether a process that was identified is still there; of one that nobody knows it is taken so."""
    return process[0] == 0 or identity(process[0]) == process


def start_ticks(pid: int, proc: Path = Path("/proc")) -> int:
    """Return when a process started, in clock ticks since boot; OSError when there is none."""
    return int(_stat(pid, proc)[19])


def _stat(pid: int, proc: Path = Path("/proc")) -> list[bytes]:
    """Return what the kernel tells of a process, from its state on.

    Source: proc(5), ``stat``, field 3 on; the second field is a name in parentheses that may hold anything.
    """
    return (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()


def find_by_environment(assignment: str, proc: Path = Path("/proc")) -> int | None:
    """Return the pid of the first process that has ``NAME=value`` in the environment it was started with."""
    wanted = assignment.encode()
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
    return None
