"""``cortex doctor``: what is wrong with this gateway, its host, and what it talks to."""

import asyncio
import os
from pathlib import Path

from cortex.cli.doctor.command import Wish, made, silence, told
from cortex.cli.doctor.finding import Finding
from cortex.cli.doctor.gateway.check import checks
from cortex.cli.doctor.gateway.look import GatewayLook
from cortex.kit import place
from cortex.kit.clock import SystemClock


def doctor(config: Path | None, wish: Wish) -> int:
    """Make the checks, print what they found; return the exit code. Raises: ConfigError for a wrong wish."""
    with silence():
        findings = asyncio.run(_examined(config, wish))
    return told("cortex", findings, wish)


async def _examined(config: Path | None, wish: Wish) -> list[Finding]:
    look = GatewayLook(config, os.environ, place.cwd(), place.home(), SystemClock(), deadline_s=wish.deadline_s)
    try:
        return await made(checks(look), wish)
    finally:
        await look.close()
