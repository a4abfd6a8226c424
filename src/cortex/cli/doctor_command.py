"""The command ``cortex doctor`` and its options; its work is in ``doctor/``, imported when it is run."""

import sys
from typing import Annotated

import typer

from cortex.cli.failure import told
from cortex.cli.option import Config, Json

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="ID", help="This check, or subject; may be repeated.")
]
Skipped = Annotated[list[str] | None, typer.Option("--skip", metavar="ID", help="Not this one; may be repeated.")]
Deadline = Annotated[float, typer.Option("--deadline", metavar="SECONDS", help="For each check.")]


def doctor(
    config: Config = None,
    only: Only = None,
    skip: Skipped = None,
    deadline: Deadline = 10.0,
    as_json: Json = False,
) -> None:
    """Look for what is wrong here and with the nodes, and say what to do: exit code 0, 1 (odd) or 2 (broken)."""
    from cortex.cli.doctor.command import Wish
    from cortex.cli.doctor.gateway.command import doctor as run

    wish = Wish(only=tuple(only or ()), skip=tuple(skip or ()), as_json=as_json, deadline_s=deadline)
    with told("cortex doctor"):
        sys.exit(run(config, wish))
