"""The keys in memory, found by what is kept of their secrets: a hash and a look into a dict per request.

Whoever guesses learns nothing from how long it takes: what is compared are hashes, of which nobody can choose one.
Does not read the store; whoever does (``store/key_watch.py``) hands in what is there, and says when it cannot be read.
"""

import logging
from collections.abc import Iterable

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

log = logging.getLogger(__name__)


class MemoryKeyBook:
    """The keys as they were last read. Implements KeyBook.

    ``fails_closed``: nobody is let in while the store cannot be asked; else the keys that are known go on.
    """

    def __init__(self, *, fails_closed: bool = False) -> None:
        self.fails_closed = fails_closed
        self._by_secret: dict[bytes, KeyRecord] = {}
        self._by_id: dict[str, KeyRecord] = {}
        self._is_read = self._is_needed = False
        self._trouble = ""

    @property
    def is_needed(self) -> bool:
        """See ``KeyBook``. A store that comes back empty must not open the door, so it stays so until a restart."""
        if not self._is_read or (self._trouble and self.fails_closed):
            raise StoreUnavailable("Whether a key is asked for, and which, is not known while the store is silent.")
        return self._is_needed

    def find(self, secret: bytes) -> Key | None:
        """See ``KeyBook``."""
        record = self._by_secret.get(digest_of(secret))
        return None if record is None else record.key

    def record_of(self, key_id: str) -> KeyRecord | None:
        """See ``KeyBook``."""
        return self._by_id.get(key_id)

    def take(self, records: Iterable[KeyRecord]) -> None:
        """Go on with these keys, and no others."""
        self._by_secret = {record.digest: record for record in records}
        self._by_id = {record.key.id: record for record in self._by_secret.values()}
        self._is_needed = self._is_needed or bool(self._by_id)
        self._is_read = True

    def answered(self) -> None:
        """The store can be asked."""
        if self._trouble:
            log.warning("the keys are those of the store again")
        self._trouble = ""

    def failed(self, error: StoreUnavailable) -> None:
        """The store cannot be asked, which others say: say once what becomes of requests."""
        if not self._trouble:
            log.warning("keys cannot be read anew: %s", self._consequence())
        self._trouble = error.message

    def _consequence(self) -> str:
        if self.fails_closed or not self._is_read:
            return "nobody is let in before the store answers"
        return "the keys that are known go on, and changes of keys wait"
