"""What a process does first. Each runs in a process of its own: descriptors and signals belong to all of one."""

import os
import signal
import subprocess
import sys

FIRST = "import os, signal, socket, sys\nfrom cortex.kit.startup import hold_hangup, keep_standard_open, obey_hangup\n"


def run(program: str, closed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    line = ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, FIRST + program]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=os.environ | env)


def test_a_socket_never_gets_the_number_of_a_closed_standard_descriptor() -> None:
    done = run("keep_standard_open()\nsys.exit(socket.socket().fileno())", closed="<&- >&- 2>&-")
    assert done.returncode > 2


def test_what_is_printed_without_standard_output_and_error_is_lost_and_does_no_harm() -> None:
    done = run("keep_standard_open()\nprint(1)\nsys.stderr.write('2')\nsys.stderr.flush()", closed=">&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_open_standard_descriptors_stay_as_they_are() -> None:
    assert run("keep_standard_open()\nprint('here')").stdout == "here\n"


def test_what_a_terminal_cannot_show_is_written_as_escapes() -> None:
    assert run("keep_standard_open()\nprint('\\u6a21')", PYTHONIOENCODING="ascii").stdout == "\\u6a21\n"


def test_a_hangup_waits_for_its_handler() -> None:
    steps = (
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)",  # under nohup it is passed over
        "hold_hangup()",
        "os.kill(os.getpid(), signal.SIGHUP)",
        "print('alive')",
        "signal.signal(signal.SIGHUP, lambda *_: print('obeyed'))",
        "obey_hangup()",
    )
    assert run("\n".join(steps)).stdout == "alive\nobeyed\n"
    unheld = [step for step in steps if step != "hold_hangup()"]
    assert run("\n".join(unheld)).returncode == -signal.SIGHUP
