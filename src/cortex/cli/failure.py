"""How a command ends that cannot do what it was asked: one sentence on standard error and an exit code.

A daemon whose log is JSON says it there, so that whoever reads that log finds nothing else in it.
"""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cortex.contract.error import CortexError
from cortex.kit import log

FAILED = 1
MISUSED = 2
"""A wrong command line or configuration; the code that argparse and typer use as well."""
UNWRITABLE = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why what is told cannot be written: its reader has left, or its disk is full or broken."""


@contextmanager
def told(program: str, code: int = MISUSED) -> Iterator[None]:
    """Turn an error of ours into its message and exit with ``code``; a reader that has left is no reason for words."""
    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        if exc.errno not in UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        if exc.errno != errno.EPIPE:
            print(f"{program}: standard output: {exc.strerror}", file=sys.stderr)
        sys.exit(FAILED)
    except CortexError as exc:
        _say(program, exc.message)
        sys.exit(code)


def _say(program: str, message: str) -> None:
    if log.is_json():
        logging.getLogger(__name__).error("%s: %s", program, message)
        return
    for line in message.splitlines():
        print(f"{program}: {line}", file=sys.stderr)
