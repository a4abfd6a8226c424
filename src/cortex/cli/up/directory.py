"""A private directory for one local fleet, locked while the fleet lives.

It is removed at the end, kept after a failure for the logs in it, and swept away by a later fleet once nobody holds its
lock.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cortex.kit.clock import Clock

PREFIX = "cortex-up-"
_LOCK = "lock"
_YOUNG_S = 60
"""A directory this young may have been made by a fleet that had no time yet to lock it."""


@contextmanager
def private_directory(parent: Path, clock: Clock) -> Iterator[Path]:
    """Make a directory that only this user can enter; sweep those that dead fleets left."""
    sweep(parent, clock.epoch_s())
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (path / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        except BaseException:
            if not any(path.glob("*.log")):
                shutil.rmtree(path, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)


def sweep(parent: Path, epoch_s: float) -> None:
    """Remove this user's directories that no running fleet holds."""
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = path.lstat()
            if about.st_uid == os.getuid() and epoch_s - about.st_mtime > _YOUNG_S and _is_free(path / _LOCK):
                shutil.rmtree(path, ignore_errors=True)


def _is_free(lock_path: Path) -> bool:
    try:
        with lock_path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
