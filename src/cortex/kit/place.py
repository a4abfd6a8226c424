"""Directories that the system knows and that need not exist: the user's home, the current one, ``~somebody``.

And whether this user may look for something at all. Where that does not matter ``os.path`` is asked what there is:
``Path.is_file`` and its like raise for a folder that may not be looked into, up to Python 3.13.
"""

import os
from pathlib import Path

from cortex.contract.error import ConfigError


def home() -> Path:
    """Return the user's home; the root for one without an entry in the system's list, as in many a container."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def cwd() -> Path:
    """Return the current directory. Raises: ConfigError when it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current directory does not exist any more: change to another one") from None


def expanded(text: str) -> Path:
    """Return a path with its ``~`` or ``~user`` resolved. Raises: ConfigError when nobody is called so."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text}: there is no such user, or no home of that user") from None


def is_closed(path: Path | str) -> bool:
    """Tell whether this user may not look for what is at a path; into a folder: with ``/.`` at its end."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return False
