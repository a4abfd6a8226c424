"""Small files of the host below ``/proc`` and ``/sys``, read for what they hold; one that cannot be read holds nothing.

Callers give whole paths, below a root that tests can set.
"""

import re
from pathlib import Path

KIB_PER_MB = 1024


def read_text(file: Path) -> str:
    """Return a file's text; nothing when it cannot be read. A process may be named in any bytes."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_line(file: Path) -> str:
    """Return a file's text without the space around it."""
    return read_text(file).strip()


def read_number(file: Path) -> int | None:
    """Return the whole number in a file; None when there is none, as in a limit of ``max``."""
    try:
        return int(read_text(file))
    except ValueError:
        return None


def read_kib_fields(file: Path) -> dict[str, int]:
    """Return the ``Name:  123 kB`` lines of a proc file as KiB by name; nothing when it cannot be read."""
    return {name: int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", read_text(file), re.MULTILINE)}
