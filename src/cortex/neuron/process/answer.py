"""Runs a small program to hear what it says, without keeping the event loop waiting."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

DEADLINE_S = 30.0
"""For a program's ``--version`` and its like: a first start with CUDA can take many seconds."""


class Answer(NamedTuple):
    """How a program ended; None: it could not be started, or did not end. ``text``: both its streams."""

    code: int | None
    text: str


async def answer(argv: Sequence[str], env: Mapping[str, str], deadline_s: float = DEADLINE_S) -> Answer:
    """Run a program to its end and return what it said; one that takes longer is killed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:  # not a program for this machine
        return Answer(None, "")
    try:
        async with asyncio.timeout(deadline_s):
            out, _ = await process.communicate()
    except TimeoutError:
        return Answer(None, "")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Answer(process.returncode, out.decode(errors="replace"))


async def ends_well(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Tell whether a program ends with code 0."""
    return (await answer(argv, env)).code == 0
