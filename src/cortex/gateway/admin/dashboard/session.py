"""Who is signed in: what a browser is given instead of the key, and what its forms have to show.

A session is a random number that only its browser has. Gateways keep its hash, like that of keys: in the store, so that
all of them know it and a restart forgets none, and in memory, so that no page waits for the store. What comes of it
holds only while the key that was shown holds and has the secret that it had then. Does not read the store; whoever does
(``store/session_watch.py``) hands in what is there.
"""

import hmac
import logging
import math
import secrets
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import NamedTuple

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key
from cortex.fleet.key_rule import why_not_now
from cortex.gateway.ports import KeyBook, KeyRecord, SessionRecord, SessionStore
from cortex.kit.clock import Clock

MAX_AGE_S = 12 * 3600.0
MAX_NOTE_CHARS = 128
NOTE_BYTES = 32
"""256 bits, as keys have: nobody guesses them, however fast their hash is."""
TOKEN_BYTES = 18

log = logging.getLogger(__name__)


class Session(NamedTuple):
    """One browser that is signed in. ``token`` is what its forms carry."""

    digest: bytes
    key: Key
    token: str


class Reading(NamedTuple):
    """A moment before the store is read: how many changes were made here before it, and when it was."""

    changes: float
    asked_s: float


class _Kept(NamedTuple):
    """What is known of a session; ``ends_s`` by this gateway's clock."""

    key_id: str
    key_digest: bytes
    ends_s: float


class _Change(NamedTuple):
    """A session that has begun or ended (None) here. ``number``: counts such changes, infinite until the store has
    heard of it."""

    number: float
    kept: _Kept | None


class Sessions:
    """The sessions of all gateways, as one gateway knows them."""

    def __init__(self, book: KeyBook, store: SessionStore, clock: Clock) -> None:
        self._book = book
        self._store = store
        self._clock = clock
        self._known: dict[bytes, _Kept] = {}
        self._changes: dict[bytes, _Change] = {}
        """Those that what is read of the store may not have yet."""
        self._count = 0

    async def begin(self, record: KeyRecord) -> str | None:
        """Return what the browser of somebody is given who has shown this key; None where the key has just ended.

        Raises: StoreUnavailable.
        """
        note = secrets.token_urlsafe(NOTE_BYTES)
        digest, asked_s = _digest_of(note), self._clock.now_s()
        if not await self._store.begin(SessionRecord(digest, record.key.id, record.digest, MAX_AGE_S)):
            return None
        self._count += 1
        self._change(digest, _Change(self._count, _Kept(record.key.id, record.digest, asked_s + MAX_AGE_S)))
        return note

    def find(self, note: str) -> Session | None:
        """Return whose note it is; None when it is nobody's, or not any more."""
        if len(note) > MAX_NOTE_CHARS:
            return None
        digest = _digest_of(note)
        kept = self._known.get(digest)
        record = None if kept is None else self._book.record_of(kept.key_id)
        if kept is None or record is None or record.digest != kept.key_digest:
            return None
        if kept.ends_s <= self._clock.now_s() or not is_operator(record.key, self._clock.epoch_s()):
            return None
        return Session(digest, record.key, _token_of(note))

    async def end(self, session: Session) -> None:
        """Sign out: here at once, on the others when the store has heard of it, which is tried again until it has."""
        self._change(session.digest, _Change(math.inf, None))
        try:
            await self._store.end((session.digest,))
        except StoreUnavailable:
            log.warning("%s signs out: other gateways hear of it when the store answers", session.key.name)
        else:
            self.ended((session.digest,))

    def reading(self) -> Reading:
        """The store is about to be read."""
        return Reading(self._count, self._clock.now_s())

    def take(self, records: Iterable[SessionRecord], reading: Reading) -> None:
        """Go on with what the store had, and what has changed here since it was read."""
        self._known = {one.digest: _Kept(one.key_id, one.key_digest, reading.asked_s + one.left_s) for one in records}
        newer = {digest: change for digest, change in self._changes.items() if change.number > reading.changes}
        self._changes = {}
        for digest, change in newer.items():
            self._change(digest, change)

    def unended(self) -> tuple[bytes, ...]:
        """Return those that have ended here and not in the store yet."""
        return tuple(digest for digest, change in self._changes.items() if change.number == math.inf)

    def ended(self, digests: Collection[bytes]) -> None:
        """They have ended in the store, too; a reading that has begun before may have them still."""
        self._count += 1
        for digest in digests:
            self._change(digest, _Change(self._count, None))

    def _change(self, digest: bytes, change: _Change) -> None:
        self._changes[digest] = change
        if change.kept is None:
            self._known.pop(digest, None)
        else:
            self._known[digest] = change.kept


def is_operator(key: Key, now_s: float) -> bool:
    """Tell whether somebody with this key may see the dashboard."""
    return key.scope == "admin" and why_not_now(key, now_s) is None


def new_token() -> str:
    """Return what the forms of a browser carry that nobody has to sign in with."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing."""
    return bool(one) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _digest_of(note: str) -> bytes:
    return sha256(note.encode("utf-8", "replace")).digest()


def _token_of(note: str) -> str:
    """Return what the forms carry: made of the note, of which it gives nothing away; the store does not know it."""
    return hmac.new(note.encode("utf-8", "replace"), b"cortex dashboard form", sha256).hexdigest()
