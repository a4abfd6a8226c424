"""Reads files that may be read again while the process runs: plain files only, and never waits.

A pipe in a file's place would keep the event loop, and all requests with it, until somebody writes to it.
"""

import errno
import os
import stat
from pathlib import Path


def read_plain(path: Path | str) -> str:
    """Return the text of a file. Raises: OSError, also for what is no file (a pipe, a device), UnicodeDecodeError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read().decode("utf-8")
    finally:
        os.close(descriptor)
