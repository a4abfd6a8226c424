"""Child processes, real ones: started, watched, stopped with all they started, and found again by another watcher."""

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.process import child as child_module
from cortex.neuron.process.child import Child, attach, find_by_environment, identity, may_run, spawn, start_ticks

ENV = {"PATH": os.environ["PATH"]}
FOREVER = "read -r line <> fifo"
"""Shell words that wait until somebody ends them: nobody writes there."""
STUBBORN = "trap '' TERM; echo up > up; while :; do read -r line <> fifo; done"
OBEDIENT = "trap 'echo bye; exit 3' TERM; echo up > up; read -r line <> fifo"


class Desk:
    """Starts shells in a folder that has two pipes: ``fifo`` to wait at, and ``up`` to say that one is up."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "engine.log"
        self.children: list[Child] = []
        self._folder = folder
        for name in ("fifo", "up"):
            os.mkfifo(folder / name)

    def shell(self, words: str, *, is_tethered: bool = False) -> Child:
        """Start a shell with these words."""
        argv = ["sh", "-c", f"cd {self._folder}; {words}"]
        child = spawn(argv, ENV, self.log, is_tethered=is_tethered)
        self.children.append(child)
        return child

    async def up(self) -> str:
        """Wait until a shell says that it is up, and return the line."""
        return (await asyncio.to_thread((self._folder / "up").read_text)).strip()


def with_desk(tmp_path: Path, test: Callable[[Desk], Awaitable[None]]) -> None:
    """Run a test; what it started is gone when it ends."""

    async def run() -> None:
        desk = Desk(tmp_path)
        try:
            await test(desk)
        finally:
            for child in desk.children:
                await child.stop(0)

    asyncio.run(run())


def is_there(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("is_tethered", [False, True], ids=["free", "tethered"])
@pytest.mark.parametrize(
    ("words", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", -signal.SIGSEGV), ("exec none 2>/dev/null", 127)],
    ids=["well", "with a code", "by a signal", "as nothing"],
)
def test_how_it_ended_is_told_to_everyone_who_waits(tmp_path: Path, is_tethered: bool, words: str, code: int) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(words, is_tethered=is_tethered)
        assert child.is_running
        assert await asyncio.gather(child.wait(), child.wait()) == [code, code]
        assert await child.wait() == code
        assert not child.is_running

    with_desk(tmp_path, run)


def test_both_outputs_go_to_the_end_of_the_log_and_nothing_is_read(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        desk.log.write_text("before\n")
        await desk.shell("echo out; echo err >&2; read -r line || echo nothing").wait()
        assert desk.log.read_text() == "before\nout\nerr\nnothing\n"

    with_desk(tmp_path, run)


def test_it_leads_a_session_of_its_own_and_has_only_the_given_environment(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(f"env; echo up > up; {FOREVER}")
        await desk.up()
        assert (os.getsid(child.pid), os.getpgid(child.pid)) == (child.pid, child.pid)
        names = {line.partition("=")[0] for line in desk.log.read_text().splitlines()}
        assert names - {"PWD", "OLDPWD", "_", "SHLVL"} == {"PATH"}

    with_desk(tmp_path, run)


def test_signals_that_this_process_ignores_are_not_ignored_by_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def run(desk: Desk) -> None:
            assert await desk.shell("kill -HUP $$").wait() == -signal.SIGHUP

        with_desk(tmp_path, run)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_that_is_not_there_is_an_os_error_or_a_line(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        none = str(tmp_path / "none")
        with pytest.raises(FileNotFoundError):
            spawn([none], ENV, desk.log, is_tethered=False)
        tethered = spawn([none], ENV, desk.log, is_tethered=True)
        assert await tethered.wait() == 127
        assert desk.log.read_text() == f"error: {none}: No such file or directory\n"

    with_desk(tmp_path, run)


def test_a_log_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    async def run(_: Desk) -> None:
        with pytest.raises(OSError, match="No such file or directory"):
            spawn(["true"], ENV, tmp_path / "none" / "log", is_tethered=False)

    with_desk(tmp_path, run)


def test_one_that_cannot_be_watched_is_ended_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = []

    def none_left(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    async def run(desk: Desk) -> None:
        monkeypatch.setattr(os, "pidfd_open", none_left)
        with pytest.raises(OSError, match="Too many open files"):
            desk.shell(FOREVER)
        assert not is_there(pids[0])

    with_desk(tmp_path, run)


def test_stopped_it_may_end_in_its_own_way(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(OBEDIENT)
        await desk.up()
        assert await child.stop(30)
        assert (await child.wait(), desk.log.read_text()) == (3, "bye\n")

    with_desk(tmp_path, run)


def test_one_that_does_not_heed_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(STUBBORN)
        await desk.up()
        assert await child.stop(0.01)
        assert await child.wait() == -signal.SIGKILL

    with_desk(tmp_path, run)


def test_one_that_even_sigkill_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in the kernel outlives SIGKILL; here the signals are held back instead."""
    monkeypatch.setattr(child_module, "KILL_WAIT_S", 0.01)

    async def run(desk: Desk) -> None:
        child = desk.shell(FOREVER)
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", lambda *_: None)
            assert not await child.stop(0.01)
        assert child.is_running

    with_desk(tmp_path, run)


def test_what_a_script_started_is_stopped_with_it(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        script = desk.shell(f'sh -c "echo \\$\\$ > up; {FOREVER}"; echo over')
        engine = watch(int(await desk.up()))
        assert engine is not None
        assert await script.stop(30)
        await engine.wait()
        assert not is_there(engine.pid)
        assert desk.log.read_text() == ""

    with_desk(tmp_path, run)


def test_what_a_program_leaves_behind_is_ended_when_it_ends(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(f'sh -c "echo \\$\\$ > up; {FOREVER}" & read -r line <> fifo')
        left = int(await desk.up())
        child.signal(signal.SIGTERM)
        await child.wait()
        watched = watch(left)
        if watched is not None:
            await watched.wait()
        assert not is_there(left)

    with_desk(tmp_path, run)


def watch(pid: int) -> Child | None:
    try:
        return attach(pid, start_ticks(pid))
    except OSError:
        return None


def test_one_that_has_ended_gets_no_signal_and_stopping_it_is_nothing(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell("exit 0")
        await child.wait()
        child.signal(signal.SIGKILL)
        assert await child.stop(30)

    with_desk(tmp_path, run)


def test_let_go_it_runs_on_unwatched(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(f"echo up > up; {FOREVER}")
        desk.children.clear()
        await desk.up()
        child.let_go()
        child.let_go()
        child.signal(signal.SIGKILL)
        assert is_there(child.pid)
        again = Child(child.pid, is_ours=True)
        desk.children.append(again)
        assert again.start_ticks == child.start_ticks

    with_desk(tmp_path, run)


def test_letting_go_of_one_that_has_ended_disturbs_nobody(tmp_path: Path) -> None:
    """Its descriptor's number belongs to the next child by then."""

    async def run(desk: Desk) -> None:
        ended = desk.shell("exit 0")
        await ended.wait()
        other = desk.shell(f"echo up > up; {FOREVER}")
        await desk.up()
        ended.let_go()
        other.signal(signal.SIGKILL)
        assert await other.wait() == -signal.SIGKILL

    with_desk(tmp_path, run)


def test_one_that_was_found_again_is_watched_and_stopped_without_its_exit_code(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(OBEDIENT)
        await desk.up()
        again = attach(child.pid, child.start_ticks)
        assert again is not None
        assert await again.stop(30)
        assert (await again.wait(), await child.wait()) == (None, 3)

    with_desk(tmp_path, run)


def test_one_that_has_ended_is_not_found_again_though_nobody_has_asked_how() -> None:
    async def found(pid: int, ticks: int) -> Child | None:
        return attach(pid, ticks)

    pid = os.posix_spawnp("true", ["true"], ENV)
    ticks = start_ticks(pid)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert asyncio.run(found(pid, ticks)) is None
    finally:
        os.waitpid(pid, 0)


def test_one_that_leads_no_group_is_stopped_alone(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        leader = desk.shell(f'sh -c "echo \\$\\$ > up; {FOREVER}"; echo over > up; {FOREVER}')
        member = watch(int(await desk.up()))
        assert member is not None
        assert await member.stop(30)
        assert await desk.up() == "over"
        assert leader.is_running

    with_desk(tmp_path, run)


@pytest.mark.parametrize("pid", [0, 2**22 + 1], ids=["never spawned", "gone"])
def test_one_that_is_not_there_is_not_found(tmp_path: Path, pid: int) -> None:
    async def run(_: Desk) -> None:
        assert attach(pid, 1) is None

    with_desk(tmp_path, run)


def test_another_one_with_the_same_number_is_not_found(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        child = desk.shell(FOREVER)
        open_before = len(os.listdir("/proc/self/fd"))
        assert attach(child.pid, child.start_ticks + 1) is None
        assert len(os.listdir("/proc/self/fd")) == open_before

    with_desk(tmp_path, run)


def test_one_that_vanishes_while_it_is_looked_at_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> int:
        raise ProcessLookupError

    async def run() -> None:
        open_before = len(os.listdir("/proc/self/fd"))
        assert attach(os.getpid(), 1) is None
        assert len(os.listdir("/proc/self/fd")) == open_before

    monkeypatch.setattr(child_module, "start_ticks", gone)
    asyncio.run(run())


def test_the_start_is_read_behind_any_name(tmp_path: Path) -> None:
    stat = b"7 (a) R) \xff 1) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 2\n"
    assert start_ticks(7, plant(tmp_path, {"7/stat": stat})) == 4711


def test_a_process_is_found_by_its_environment(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "7/environ": b"PATH=/bin\0CORTEX_INSTANCE=abcd\0",
            "8/environ": b"X=CORTEX_INSTANCE=abc\0\xff=\0CORTEX_INSTANCE=abc\0",
            "9/cmdline": b"no environment",
            "self/environ": b"CORTEX_INSTANCE=none\0",
        },
    )
    assert find_by_environment("CORTEX_INSTANCE=abc", tmp_path) == 8
    assert find_by_environment("CORTEX_INSTANCE=none", tmp_path) is None


def test_a_real_child_is_found_by_its_environment(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        nonce = f"CORTEX_INSTANCE={tmp_path}"
        env = ENV | dict([nonce.split("=")])
        words = f"cd {tmp_path}; echo up > up; {FOREVER}"
        child = spawn(["sh", "-c", words], env, desk.log, is_tethered=False)
        desk.children.append(child)
        await desk.up()
        assert find_by_environment(nonce) == child.pid

    with_desk(tmp_path, run)


def test_a_process_is_known_by_its_start_as_well() -> None:
    own = identity(os.getpid())
    assert own == (os.getpid(), start_ticks(os.getpid()))
    assert may_run(own)
    assert not may_run((own[0], own[1] + 1)), "another one with the same number"
    ended = subprocess.Popen(["true"])
    before = identity(ended.pid)
    ended.wait()
    assert before[0] == ended.pid
    assert (identity(ended.pid), identity(0)) == ((0, 0), (0, 0))
    assert not may_run(before)
    assert may_run((0, 0)), "nobody knows"
