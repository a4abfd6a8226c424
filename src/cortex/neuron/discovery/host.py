"""Who this host is: name, operating system, kernel, CUDA toolkit.

Read from files below a root that tests can set, and from ``nvcc``, which is asked again only when it is another file.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cortex.neuron.host_file import read_line, read_text
from cortex.neuron.process.program import Program

_VERSION = re.compile(r"\d+(?:\.\d+)*")


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``GET /discovery`` that is about no device."""

    hostname: str
    os: str
    kernel: str
    cuda_toolkit_version: str | None = None


class HostReader:
    """Reads them. ``nvcc`` is looked up on PATH when it is a bare name."""

    def __init__(self, root: Path, nvcc: str = "nvcc") -> None:
        self._root = root
        self._nvcc = nvcc
        self._versions: dict[tuple[Path, int], str | None] = {}

    def read(self) -> Host:
        """Return the host's facts; what a file does not tell is ``unknown``."""
        root = self._root
        return Host(
            hostname=read_line(root / "proc/sys/kernel/hostname") or "unknown",
            os=_os_name(root),
            kernel=read_line(root / "proc/sys/kernel/osrelease") or "unknown",
            cuda_toolkit_version=_newest([*_versions_told(root), *self._versions_asked()]),
        )

    def _versions_asked(self) -> Iterator[str]:
        """Yield what the compilers of installed toolkits say."""
        on_path = shutil.which(self._nvcc)
        programs = {Path(on_path)} if on_path else set()
        for program in sorted({*programs, *(self._root / "usr/local").glob("cuda*/bin/nvcc")}):
            try:
                key = (program.resolve(), program.stat().st_mtime_ns)
            except OSError:  # gone meanwhile
                continue
            if key not in self._versions:
                self._versions[key] = _version_of(program)
            version = self._versions[key]
            if version is not None:
                yield version


def _os_name(root: Path) -> str:
    """Return PRETTY_NAME of os-release(5), whose values are quoted as in a shell."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        found = re.search(r"^PRETTY_NAME=(.*)$", read_text(root / place), re.MULTILINE)
        name = _unquoted(found[1]) if found else ""
        if name:
            return name
    return "unknown"


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:  # a quote that is never closed
        return value.strip("\"' ")


def _versions_told(root: Path) -> Iterator[str]:
    """Yield the versions that toolkits below ``/usr/local`` name in their ``version.json``."""
    for file in (root / "usr/local").glob("cuda*/version.json"):
        try:
            yield str(json.loads(read_text(file))["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            continue


def _version_of(nvcc: Path) -> str | None:
    """Return what a compiler says: ``Cuda compilation tools, release 12.9, V12.9.86``."""
    try:
        said = Program(str(nvcc)).run("--version")
    except OSError:
        return None
    found = re.search(r"\brelease (\d+\.\d+)", said.out) if said.code == 0 else None
    return found[1] if found else None


def _newest(versions: list[str]) -> str | None:
    """Return the highest of those that are versions; of equal ones the one that says more."""
    numbered = [(tuple(map(int, version.split("."))), version) for version in versions if _VERSION.fullmatch(version)]
    return max(numbered)[1] if numbered else None
