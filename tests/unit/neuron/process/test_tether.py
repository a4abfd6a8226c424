"""A tethered program ends with the process that started it, however that ends."""

import os
import select
import subprocess
import sys
from pathlib import Path

from cortex.neuron.process import tether

TETHER = (sys.executable, "-I", "-S", tether.__file__)
STARTER = """
import os, sys
os.posix_spawn(sys.argv[1], [*sys.argv[1:5], str(os.getpid()), *sys.argv[5:]], os.environ)
os.read(0, 1)  # until it is killed
"""


def started(*program: str) -> subprocess.CompletedProcess[str]:
    """Tether a program to this process and return how it ended."""
    return subprocess.run([*TETHER, str(os.getpid()), *program], capture_output=True, text=True, check=False)


def test_it_becomes_the_program_with_its_arguments() -> None:
    done = started("sh", "-c", 'echo "$0 $1"; exit 7', "a b", "c")
    assert (done.returncode, done.stdout) == (7, "a b c\n")


def test_a_program_that_is_not_there_is_code_127_and_a_line(tmp_path: Path) -> None:
    done = started(str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (127, f"error: {tmp_path}/none: No such file or directory\n")


def test_with_its_starter_gone_before_it_could_tie_itself_nothing_is_started() -> None:
    done = subprocess.run([*TETHER, "1", "echo", "started"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (127, "")


def test_the_program_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    program = ("sh", "-c", f"echo up; read -r line < {tmp_path}/fifo")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", STARTER, *TETHER, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        try:
            assert starter.stdout.readline() == b"up\n"
        finally:
            starter.kill()
        ready, _, _ = select.select([starter.stdout], [], [], 30)
        assert ready
        assert starter.stdout.read() == b"", "the last one who could write there is gone"
