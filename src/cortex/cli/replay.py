"""``cortex replay``: hands its options to the simulator, which is a program of its own.

The simulator drives the parts of both daemons, and stands above the commands; no command imports it.
"""

import os
import sys
from collections.abc import Sequence

PROGRAM = "cortex.testing.replay"


def replay(options: Sequence[str]) -> None:
    """Become the simulator; this call does not return."""
    os.execv(sys.executable, command(options))


def command(options: Sequence[str]) -> list[str]:
    """Return what is run."""
    return [sys.executable, "-m", PROGRAM, *options]
