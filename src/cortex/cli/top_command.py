"""The command ``top`` and its options; its work is in ``top/``."""

import os
import sys
from typing import Annotated

import typer

from cortex.cli.failure import FAILED, told
from cortex.cli.option import GATEWAY_URL, Url


def top(
    once: Annotated[bool, typer.Option("--once", help="Print everything once, as text, and end.")] = False,
    url: Url = GATEWAY_URL,
) -> None:
    """Watch the fleet in a terminal: nodes, models, requests, decisions."""
    from cortex.cli.top.command import top as run

    with told("cortex top", FAILED):
        sys.exit(run(url, os.environ, once=once))
