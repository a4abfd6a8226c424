"""Who is signed in: what a browser is given instead of the key, and what its forms have to show. Pure but for chance.

A session is a signed note: which key, until when, a number of its own. It is signed with what the gateways keep of the
key (``KeyRecord.digest``), so that all gateways of one store know it, none remembers it, and a key that is revoked or
given another secret ends it. Nobody can make a key of it: a hash does not go back. Signing out is remembered, here
and until the note has ended.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from cortex.contract.key import Key
from cortex.fleet.key_rule import why_not_now
from cortex.gateway.ports import KeyBook, KeyRecord

MAX_AGE_S = 12 * 3600.0
MAX_ENDED = 4096
"""Notes that were given back before their time and are remembered; the oldest are forgotten first."""
MAX_NOTE_CHARS = 512
NUMBER_BYTES = 18


class Session(NamedTuple):
    """One browser that is signed in. ``token`` is what its forms carry."""

    number: str
    key: Key
    token: str


class Sessions:
    """Makes notes and reads them. ``epoch_s``: UTC now, because notes go from gateway to gateway."""

    def __init__(self, book: KeyBook, epoch_s: Callable[[], float]) -> None:
        self._book = book
        self._epoch_s = epoch_s
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, record: KeyRecord) -> str:
        """Return the note for somebody who has shown this key."""
        until_s = int(self._epoch_s() + MAX_AGE_S)
        text = f"{record.key.id}.{until_s}.{secrets.token_urlsafe(NUMBER_BYTES)}"
        return f"{text}.{_sign(record.digest, 'session', text)}"

    def find(self, note: str) -> Session | None:
        """Return whose note it is; None when it is nobody's, or not any more. Raises: StoreUnavailable."""
        text, _, signature = note[:MAX_NOTE_CHARS].rpartition(".")
        key_id, _, rest = text.partition(".")
        until_s, _, number = rest.partition(".")
        record = self._book.record_of(key_id)
        now_s = self._epoch_s()
        if record is None or not (until_s.isascii() and until_s.isdigit()):
            return None
        if not hmac.compare_digest(
            _sign(record.digest, "session", text).encode(), signature.encode("utf-8", "replace")
        ):
            return None
        if int(until_s) <= now_s or number in self._ended or not is_operator(record.key, now_s):
            return None
        return Session(number=number, key=record.key, token=_sign(record.digest, "form", text))

    def end(self, session: Session) -> None:
        """Sign out."""
        self._ended[session.number] = None
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)


def is_operator(key: Key, now_s: float) -> bool:
    """Tell whether somebody with this key may see the dashboard."""
    return key.scope == "admin" and why_not_now(key, now_s) is None


def new_token() -> str:
    """Return what the forms of a browser carry that nobody has to sign in with."""
    return secrets.token_urlsafe(NUMBER_BYTES)


def is_same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing."""
    return bool(one) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _sign(digest: bytes, purpose: str, text: str) -> str:
    return hmac.new(digest, f"cortex dashboard {purpose}: {text}".encode("utf-8", "replace"), sha256).hexdigest()
