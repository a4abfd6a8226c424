"""``cortex``: hands ``serve`` straight to its module and everything else to typer.

A daemon must be up within a second and stay small, and typer with rich costs 0.1 s and 10 MiB (measured 2026-11).
"""

import os
import sys

from cortex.kit.startup import hold_hangup, keep_standard_open

ASKED = "_CORTEX_COMPLETE"
"""Set by the scripts of ``cortex completion`` when a shell wants to know how a command goes on."""


def main() -> None:
    """Entry point of the console script."""
    keep_standard_open()
    if sys.argv[1:2] == ["serve"]:
        hold_hangup()
        from cortex.cli.serve import serve

        sys.exit(serve(sys.argv[2:]))
    from cortex.cli.command import app

    if ASKED in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    app(prog_name="cortex")
