"""The first steps of a process, before it has a configuration, a log or a signal handler.

Standard descriptors that its parent has closed are opened on ``/dev/null``: else the next socket gets their numbers,
and what is printed goes to a client. A hang-up waits until it is obeyed: unhandled it kills, and a service that has
just been started would die of being told to read its files again. So does
SIGUSR2, which asks a gateway for a successor.
"""

import io
import os
import signal
import sys

HELD = (signal.SIGHUP, signal.SIGUSR2)


def keep_standard_open() -> None:
    """Open what is closed of standard input, output and error; what their encoding lacks is written as escapes."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def hold_hangup() -> None:
    """Let SIGHUP and SIGUSR2 wait; in children too, so before they are obeyed none may be started that lives on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def obey_hangup() -> None:
    """Let them come, and what waits: their handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
