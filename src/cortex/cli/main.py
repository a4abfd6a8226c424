"""``cortex``: hands ``serve`` straight to its module and everything else to typer.

A daemon must be up within a second and stay small, and typer with rich costs 0.1 s and 10 MiB (measured 2026-11).
"""

import sys

from cortex.kit.startup import hold_hangup, keep_standard_open


def main() -> None:
    """Entry point of the console script."""
    keep_standard_open()
    if sys.argv[1:2] == ["serve"]:
        hold_hangup()
        from cortex.cli.serve import serve

        sys.exit(serve(sys.argv[2:]))
    from cortex.cli.command import app

    app(prog_name="cortex")
