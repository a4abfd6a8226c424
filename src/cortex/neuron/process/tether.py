"""Ties a program to the life of the process that starts it, then becomes that program: ``tether.py PID argv…``.

The kernel kills the program when PID's thread that spawned it ends, however it ends. Run as a script with ``python -I
-S`` (some 20 ms): a function between fork and exec would be unsafe beside threads. Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replace this process by ``argv[1:]``, tied to the process ``argv[0]``; return only to fail."""
    parent, program = int(argv[0]), argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        return
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"error: {program[0]}: {error.strerror}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.exit(127)
