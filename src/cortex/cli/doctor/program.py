"""Runs programs of the host for what they say: with a deadline, in the C locale, never asking anybody anything."""

import asyncio
import os
from collections.abc import Mapping
from typing import NamedTuple

from cortex.cli.doctor.finding import Skip


class Said(NamedTuple):
    """What a program gave; bytes that are no text are replaced."""

    code: int
    out: str
    err: str


class Programs:
    """Programs on the PATH of ``env``."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {**env, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}

    async def run(self, program: str, *args: str) -> Said:
        """Run one to its end. Raises: Skip when it is not installed, or cannot be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *args,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Skip(f"{program} is not installed") from None
        except OSError as exc:
            raise Skip(f"{program} cannot be started: {os.strerror(exc.errno or 0)}") from None
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:  # the deadline has passed
                process.kill()
                await process.wait()
        return Said(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
