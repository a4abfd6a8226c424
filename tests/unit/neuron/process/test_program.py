"""A small program is run to its end and never waited for longer than its deadline, even if nothing can end it."""

import contextlib
import os
import select
import signal
from pathlib import Path

import pytest

from cortex.neuron.process.program import Program, Said


def fifo(folder: Path) -> str:
    path = folder / "fifo"
    os.mkfifo(path)
    return str(path)


def test_code_and_both_outputs_are_given() -> None:
    said = Program("sh").run("-c", "echo out; echo err >&2; printf '\\377' >&2; exit 3")
    assert said == Said(3, "out\n", "err\n\ufffd")


def test_nothing_can_be_read_from_standard_input() -> None:
    assert Program("sh").run("-c", "read -r line || echo nothing").out == "nothing\n"


def test_a_program_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Program(str(tmp_path / "none")).run()


def test_one_that_does_not_end_is_killed_and_the_next_run_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    killpg = os.killpg
    monkeypatch.setattr("os.killpg", lambda pid, number: (killed.append(pid), killpg(pid, number)))
    program, hang = Program("sh", deadline_s=0.05), f"read -r line < {fifo(tmp_path)}"
    for _ in range(2):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
            program.run("-c", hang)
    assert [Path(f"/proc/{pid}").exists() for pid in killed] == [False, False]


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    hang = f"read -r line < {fifo(tmp_path)}"
    script = f"sh -c '{hang}' & echo $! > {tmp_path}/pid; {hang}"
    with pytest.raises(TimeoutError):
        Program("sh", deadline_s=0.5).run("-c", script)
    assert ends(int((tmp_path / "pid").read_text()))


def ends(pid: int) -> bool:
    """Wait until a process that is not ours has ended; False when it goes on."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 5.0)[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched, signal.SIGKILL)
        os.close(watched)


def test_beside_one_that_cannot_be_killed_no_second_one_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in the kernel outlives SIGKILL; here the signal is held back instead."""
    held: list[int] = []
    killpg = os.killpg
    monkeypatch.setattr("os.killpg", lambda pid, _: held.append(pid))
    program, hang = Program("sh", deadline_s=0.05, kill_wait_s=0.01), f"read -r line < {fifo(tmp_path)}"
    for words in (r"no answer", r"process \d+ hangs in the kernel", r"no answer"):
        with pytest.raises(TimeoutError, match=words):
            program.run("-c", hang)
        if "hangs" in words:
            killpg(held[0], signal.SIGKILL)
            assert ends(held[0])
    assert len(held) == 2
    killpg(held[1], signal.SIGKILL)
    assert program._stuck is not None
    program._stuck.wait()
