"""Who this host is: name, operating system, kernel, CUDA toolkit. Read from files below a root that tests can set."""

import json
import re
import shlex
from pathlib import Path

import msgspec


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``GET /discovery`` that is about no device."""

    hostname: str
    os: str
    kernel: str
    cuda_toolkit_version: str | None = None


def read_host(root: Path) -> Host:
    """Return the host's facts; what a file does not tell is ``unknown``."""
    return Host(
        hostname=_line(root / "proc/sys/kernel/hostname"),
        os=_os_name(root),
        kernel=_line(root / "proc/sys/kernel/osrelease"),
        cuda_toolkit_version=_cuda_toolkit(root),
    )


def _line(file: Path) -> str:
    try:
        return file.read_text().strip() or "unknown"
    except OSError:
        return "unknown"


def _os_name(root: Path) -> str:
    """Return PRETTY_NAME of os-release(5), whose values are quoted as in a shell."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = (root / place).read_text()
        except OSError:
            continue
        found = re.search(r"^PRETTY_NAME=(.*)$", text, re.MULTILINE)
        if found:
            return " ".join(shlex.split(found[1]))
    return "unknown"


def _cuda_toolkit(root: Path) -> str | None:
    """Return the version of the newest toolkit below ``/usr/local``, as its ``version.json`` names it."""
    versions = []
    for file in (root / "usr/local").glob("cuda*/version.json"):
        try:
            version = json.loads(file.read_text())["cuda"]["version"]
            versions.append((tuple(int(part) for part in version.split(".")), version))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return max(versions)[1] if versions else None
