"""Reads what this host says of itself: limits, mounts, clocks, who runs a process. Decides nothing.

Files are read below ``root``, which tests set; what cannot be read is None, or nothing.
"""

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cortex.contract.error import ConfigError
from cortex.kit.place import is_closed

ROOT = Path("/")
ASKING = "whoever runs doctor"
SERVICES_USER = "the service's user"


class Disk(NamedTuple):
    """Where a path is, or would be: the nearest directory that there is. Bytes; ``kind`` is the file system's."""

    path: Path
    exists: bool
    is_writable: bool
    kind: str
    total_bytes: int
    free_bytes: int


class FileState(NamedTuple):
    """Of a file: mode bits, numbers of its owner and group, and whether this user may read it, and write it."""

    mode: int
    uid: int
    gid: int
    is_readable: bool
    is_writable: bool = False


class Identity(NamedTuple):
    """Who runs a daemon, or would. ``whence``: how that is known."""

    uid: int
    gids: frozenset[int]
    name: str
    whence: str

    @property
    def is_asking(self) -> bool:
        """Whether that is this process' own user, whose rights the kernel tells."""
        return self.whence == ASKING


def text_of(file: Path) -> str | None:
    """Return a file's text without the space around it; None when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(file: Path) -> int | None:
    """Return the whole number in a file; None when there is none, as in a limit of ``max``."""
    text = text_of(file) or ""
    return int(text) if text.lstrip("-").isdigit() else None


def limit_of(name: str, root: Path = ROOT, pid: int | None = None) -> tuple[int | None, int | None] | None:
    """Return the soft and the hard limit of a process (default: this one); None in it for unlimited.

    ``name``: as in ``/proc/PID/limits``, like ``Max open files``. None: not to be read.
    """
    text = text_of(root / "proc" / (str(pid) if pid else "self") / "limits") or ""
    found = re.search(rf"^{re.escape(name)}\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    if found is None:
        return None
    soft, hard = (None if word == "unlimited" else int(word) for word in found.groups())
    return soft, hard


def filesystem_of(path: Path, root: Path = ROOT) -> str:
    """Return the kind of file system that a path is on, as ``/proc/self/mountinfo`` names it; empty when unknown."""
    best, kind = -1, ""
    for line in (text_of(root / "proc/self/mountinfo") or "").splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(_unescaped(mount.split()[4])) if len(mount.split()) > 4 else None
        if point is not None and path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), source.split()[0] if source.split() else ""  # of two at a place the last
    return kind


def _unescaped(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), text)


def disk_of(path: Path, root: Path = ROOT) -> Disk:
    """Look at where a path is or would be. Raises: OSError."""
    nearest = path.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    usage = shutil.disk_usage(nearest)
    writable = os.access(nearest, os.W_OK | (os.X_OK if nearest.is_dir() else 0))
    return Disk(
        nearest,
        path.exists(),
        writable,
        filesystem_of(nearest.resolve(), root),
        usage.total,
        _free(nearest, usage.free),
    )


def _free(path: Path, whole: int) -> int:
    try:
        told = os.statvfs(path)
    except OSError:
        return whole
    return told.f_bavail * told.f_frsize


def file_state(path: Path) -> FileState | None:
    """Return what a file is like; None when there is none. Raises: OSError."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return None
    return FileState(
        told.st_mode & 0o7777, told.st_uid, told.st_gid, os.access(path, os.R_OK), os.access(path, os.W_OK)
    )


def look_into(*paths: Path | str | None) -> None:
    """Raise PermissionError for the first of some files that this user may not read, or may not look for."""
    for path in paths:
        if path is not None and (is_closed(path) or (os.path.exists(path) and not os.access(path, os.R_OK))):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextlib.contextmanager
def by_permission() -> Iterator[None]:
    """Raise, instead of a ConfigError, the PermissionError that it comes of: who may look would not be refused."""
    try:
        yield
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from None
        raise


def kernel_clock_state() -> int | None:
    """Return what adjtimex(2) says of the clock: 5 (TIME_ERROR) where nothing keeps it right; None: unknown."""
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))  # its mode is 0: it changes nothing
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state


def process_name(pid: int, root: Path = ROOT) -> str:
    """Return what a process is called; nothing of its arguments, which may hold a secret."""
    return text_of(root / "proc" / str(pid) / "comm") or "?"


def environment_of(pid: int, root: Path = ROOT) -> dict[str, str] | None:
    """Return the environment in which a process was started; None where it is not to be seen."""
    try:
        text = (root / "proc" / str(pid) / "environ").read_text(errors="replace")
    except OSError:
        return None
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)


def identity_of(pid: int, service: str, root: Path = ROOT) -> Identity:
    """Return who runs process ``pid``; without one (0) the user ``service`` where there is one and root asks, else this
    user."""
    status = text_of(root / "proc" / str(pid) / "status") if pid else None
    if status:
        uid = _numbers(status, "Uid")[1:2]  # the effective one
        gids = [*_numbers(status, "Gid")[1:2], *_numbers(status, "Groups")]
        if uid:
            return Identity(uid[0], frozenset(gids), user_name(uid[0]), f"process {pid}")
    if os.geteuid() == 0 and (found := _user(service)) is not None:
        return found
    gids = [os.getegid(), *os.getgroups()]
    return Identity(os.geteuid(), frozenset(gids), user_name(os.geteuid()), ASKING)


def _user(name: str) -> Identity | None:
    import grp
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    gids = [entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)]
    return Identity(entry.pw_uid, frozenset(gids), name, SERVICES_USER)


def _numbers(status: str, key: str) -> list[int]:
    found = re.search(rf"^{key}:([\t \d]*)$", status, re.MULTILINE)
    return [int(word) for word in found[1].split()] if found else []


def user_name(uid: int) -> str:
    """Return what a user is called, else the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def home_of(name: str) -> Path | None:
    """Return a user's home; None for one without an entry."""
    import pwd

    try:
        return Path(pwd.getpwnam(name).pw_dir)
    except KeyError:
        return None


def group_name(gid: int) -> str:
    """Return what a group is called, else the number."""
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def group_ids(names: Iterable[str]) -> frozenset[int]:
    """Return the numbers of groups, those that there are."""
    import grp

    found = {each.gr_name: each.gr_gid for each in grp.getgrall()}
    return frozenset(found[name] for name in names if name in found)


def may(identity: Identity, state: FileState, wanted: int) -> bool:
    """Tell whether somebody may: ``wanted`` is 4 to read, 2 to write, 1 to enter, or their sum.

    Of whoever asks the kernel has told it; of others mode bits tell, and access control lists are not asked.
    """
    if identity.is_asking:
        return (state.is_readable or not wanted & 4) and (state.is_writable or not wanted & 2)
    if identity.uid == 0:
        return True
    shift = 6 if identity.uid == state.uid else 3 if state.gid in identity.gids else 0
    return (state.mode >> shift) & wanted == wanted


def first_line(words: str) -> str:
    """Return the first line of some words that says anything."""
    return next((line.strip() for line in words.splitlines() if line.strip()), "")
