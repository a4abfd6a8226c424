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


def _text(file: Path) -> str:
    """Return a file's text; nothing when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(file: Path) -> str:
    return _text(file).strip() or "unknown"


def _os_name(root: Path) -> str:
    """Return PRETTY_NAME of os-release(5), whose values are quoted as in a shell."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        found = re.search(r"^PRETTY_NAME=(.*)$", _text(root / place), re.MULTILINE)
        name = _unquoted(found[1]) if found else ""
        if name:
            return name
    return "unknown"


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:  # a quote that is never closed
        return value.strip("\"' ")


def _cuda_toolkit(root: Path) -> str | None:
    """Return the version of the newest toolkit below ``/usr/local``, as its ``version.json`` names it."""
    versions = []
    for file in (root / "usr/local").glob("cuda*/version.json"):
        try:
            version = str(json.loads(_text(file))["cuda"]["version"])
            versions.append((tuple(int(part) for part in version.split(".")), version))
        except (ValueError, KeyError, TypeError):
            continue
    return max(versions)[1] if versions else None
