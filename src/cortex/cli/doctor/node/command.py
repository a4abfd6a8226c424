"""``cortex-neuron doctor``: what is wrong with this node, its devices, its engines and its configuration."""

import asyncio
import os
from pathlib import Path

from cortex.cli.doctor.command import Wish, made, silence, told
from cortex.cli.doctor.node.check import checks
from cortex.cli.doctor.node.look import NodeLook
from cortex.kit import place
from cortex.kit.clock import SystemClock

DEADLINE_S = 30.0
"""For each check: drivers and engines that are asked for the first time take their time."""


def doctor(config: Path | None, wish: Wish) -> int:
    """Make the checks, print what they found; return the exit code. Raises: ConfigError for a wrong wish."""
    look = NodeLook(config, os.environ, place.cwd(), place.home(), SystemClock(), deadline_s=wish.deadline_s)
    with silence():
        findings = asyncio.run(made(checks(look), wish))
    return told("cortex-neuron", findings, wish)
