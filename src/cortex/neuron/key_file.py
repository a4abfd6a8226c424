"""A key that lies in a file: read when it is made, and again whenever it is asked for, so that it can be changed."""

import logging
import re
from pathlib import Path

from cortex.contract.error import ConfigError

log = logging.getLogger(__name__)

_KEY = re.compile(r"[\x21-\x7e]+")


class KeyFile:
    """One file with one key."""

    def __init__(self, path: Path, where: str) -> None:
        """``where``: the entry that names it. Raises: ConfigError when there is no key in it."""
        self._path = path
        self._where = where
        self._is_told = False
        found = self._found()
        if found is None:
            raise ConfigError(f"{where}: key_file {path}: {self._trouble}", path=str(path))
        self._key = found

    def read(self) -> str:
        """Return the key as it is now; the last one while the file has none."""
        found = self._found()
        if found is not None:
            self._key = found
        elif not self._is_told:
            log.warning("%s: key_file %s: %s; the last key is used on", self._where, self._path, self._trouble)
        self._is_told = found is None
        return self._key

    def _found(self) -> str | None:
        try:
            text = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            self._trouble = f"cannot be read: {getattr(error, 'strerror', None) or error}"
            return None
        self._trouble = "expected one key without spaces in it" if text else "expected a key, the file is empty"
        return text if _KEY.fullmatch(text) else None
