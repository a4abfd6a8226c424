"""Which processes belong together: an engine may be a script, or may put its work into processes of its own.

Every engine leads a session (``child.py``), which its descendants stay in, also when it has ended before them. Reads
``/proc`` below a root that tests can set.
"""

from collections.abc import Iterator
from pathlib import Path

from cortex.neuron.host_file import read_text


def owner_of(pid: int, leaders: frozenset[int], root: Path) -> int | None:
    """Return which of these leaders a process is, or is in the session or group of; None when it is nobody's."""
    if pid in leaders:
        return pid
    # Source: proc(5), ``stat``: state, parent, group, session follow the name, which may hold anything.
    fields = read_text(root / f"proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 4:
        return None
    return next((leader for leader in map(int, (fields[3], fields[2])) if leader in leaders), None)


def family_of(pid: int, root: Path) -> Iterator[int]:
    """Yield a process and all its descendants."""
    seen: set[int] = set()
    waiting = [pid]
    while waiting:
        member = waiting.pop()
        if member not in seen:
            seen.add(member)
            yield member
            for thread in _threads(root / f"proc/{member}/task"):
                waiting += map(int, read_text(thread / "children").split())


def _threads(folder: Path) -> list[Path]:
    """Return the folders of a process's threads; none when it has ended, at whatever moment that was."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
