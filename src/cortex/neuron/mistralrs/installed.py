"""What is known of the mistral.rs that is installed on this node: its version, and the CUDA and GPUs it was built for.

The running server says its version and its CUDA; where none runs the program is asked, and the name of its package
tells the CUDA's major version (``mistralrs-cuda13-server``). For which GPUs it was built nobody says but our packages:
by their name, or by where their program lies (``/usr/libexec/mistralrs/cuda13/mistralrs``, behind ``alternatives``).
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.mistralrs.wire import Info
from cortex.neuron.process.answer import answer
from cortex.neuron.settings import HarnessEntry

BARE_NAME = "mistralrs"
REPORT_DEADLINE_S = 10.0
_VERSION = re.compile(r"\b(\d+\.\d+\.\d+\S*)")
_PACKAGE = re.compile(r"cuda-?(\d+)", re.IGNORECASE)
_OUR_PROGRAM = re.compile(r"/mistralrs/cuda(\d+)/mistralrs$")
CAPABILITY_OF_PACKAGE = {"mistralrs-cuda12-server": "8.9", "mistralrs-cuda13-server": "12.0a"}
"""For which GPUs our packages are built: packaging/mistralrs/mistralrs-cuda.spec. From 9.0 on an "a" is added."""


class _Report(msgspec.Struct):
    """``mistralrs doctor --json``: what the server says of itself, and checks."""

    system: Info


class Installed(NamedTuple):
    """None: nobody says. ``cuda`` may be a major version alone."""

    version: str | None = None
    cuda: str | None = None
    capability: str | None = None
    """The compute capability of the GPUs that it was built for."""


def find_program(entry: HarnessEntry, env: Mapping[str, str]) -> str | None:
    """Return the path of the program that the entry means; None when it is not there."""
    wanted = entry.binary or BARE_NAME
    if Path(wanted).name != wanted and not Path(wanted).is_absolute():
        return None
    return shutil.which(wanted, path=env.get("PATH"))


async def find_installed(entry: HarnessEntry, env: Mapping[str, str], cuda: str | None = None) -> Installed:
    """Return what the program and the package's name say. ``cuda``: what is known of it already.

    Where neither that nor the package tells the CUDA, the program reports on itself. That takes its time: it looks at
    every GPU, and whether it reaches Hugging Face.
    """
    program = find_program(entry, env)
    package = _package_of(program) or entry.package or ""
    told = _PACKAGE.search(package)
    known = cuda or (told[1] if told else None)
    # A server that was built for another CUDA than the package is not of that package.
    is_other = bool(cuda and told and cuda.split(".")[0] != told[1])
    capability = None if is_other else CAPABILITY_OF_PACKAGE.get(package)
    if program is None:
        return Installed(cuda=known, capability=capability)
    said = await answer([program, "--version"], env)
    found = _VERSION.search(said.text) if said.code == 0 else None
    if known is None:
        report = await answer([program, "doctor", "--json"], env, REPORT_DEADLINE_S)
        known = cuda_in(report.text) if report.code == 0 else None
    return Installed(version=found[1] if found else None, cuda=known, capability=capability)


def _package_of(program: str | None) -> str | None:
    """Return the package of ours that a program is of, whatever the configuration calls it."""
    found = _OUR_PROGRAM.search(str(Path(program).resolve())) if program else None
    return f"mistralrs-cuda{found[1]}-server" if found else None


def cuda_in(report: str) -> str | None:
    """Return the CUDA that a program was built for, from its report on itself, which may stand amid other lines."""
    begin, end = report.find("{"), report.rfind("}")
    try:
        return msgspec.json.decode(report[begin : end + 1], type=_Report).system.build.cuda_toolkit_version
    except NOT_JSON:
        return None
