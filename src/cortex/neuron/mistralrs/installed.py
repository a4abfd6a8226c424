"""What is known of the mistral.rs that is installed on this node: its version, and the CUDA that it was built for.

The running server says both; where none runs the program is asked, and the name of its package tells the CUDA's major
version (``mistralrs-cuda13-server``).
"""

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.process.answer import answer
from cortex.neuron.settings import HarnessEntry

BARE_NAME = "mistralrs"
_VERSION = re.compile(r"\b(\d+\.\d+\.\d+\S*)")
_CUDA = re.compile(r"cuda[ _-]?(?:toolkit)?[^\d\n]*?(\d+\.\d+)", re.IGNORECASE)
_PACKAGE = re.compile(r"cuda-?(\d+)", re.IGNORECASE)


class Installed(NamedTuple):
    """None: nobody says. ``cuda`` may be a major version alone."""

    version: str | None = None
    cuda: str | None = None


def find_program(entry: HarnessEntry, env: Mapping[str, str]) -> str | None:
    """Return the path of the program that the entry means; None when it is not there."""
    wanted = entry.binary or BARE_NAME
    if Path(wanted).name != wanted and not Path(wanted).is_absolute():
        return None
    return shutil.which(wanted, path=env.get("PATH"))


async def find_installed(entry: HarnessEntry, env: Mapping[str, str]) -> Installed:
    """Return what the program and the package's name say."""
    package = _PACKAGE.search(entry.package or "")
    of_package = package[1] if package else None
    program = find_program(entry, env)
    if program is None:
        return Installed(cuda=of_package)
    said, report = await asyncio.gather(answer([program, "--version"], env), answer([program, "doctor"], env))
    found = _VERSION.search(said.text) if said.code == 0 else None
    built = _CUDA.search(report.text) if report.code == 0 else None
    return Installed(version=found[1] if found else None, cuda=built[1] if built else of_package)
