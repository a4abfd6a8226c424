"""Who is let in: callers from trusted networks while there is no key, and after that whoever shows one that holds.

One rule for all paths but those that say how the gateway is, which stay open to trusted networks. Where a call comes
from is ``Access``'s to judge, which keys there are ``KeyBook``'s. No secret stands in what is said.
"""

from collections.abc import Callable, Iterable, Iterator

from cortex.contract.error import Forbidden, KeyForbidden, Unauthorized
from cortex.contract.key import Key
from cortex.fleet.key_rule import may_ask, why_not_now
from cortex.gateway.data.access import Access
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.ports import KeyBook

OPEN = frozenset((b"/health", b"/livez", b"/readyz"))
"""Paths for load balancers, which have no key."""

ADMIN_PREFIX = b"/admin/"

Entries = list[dict[str, object]]

_HOW = "Send it as 'Authorization: Bearer <key>' or as 'x-api-key: <key>'"


class KeyDoor:
    """Lets requests in. ``book`` None: there are no keys, and never will be; ``epoch_s``: UTC now."""

    def __init__(self, access: Access, book: KeyBook | None, epoch_s: Callable[[], float]) -> None:
        self._access = access
        self._book = book
        self._epoch_s = epoch_s

    def admit(self, exchange: Exchange) -> None:
        """Let a request in, noting its key and whence it comes. Raises: CallerError, StoreUnavailable."""
        book = self._book
        if book is None:
            self._check_address(exchange)
        elif exchange.path in OPEN:
            try:
                self._check_address(exchange)
            except Forbidden:
                if not book.is_needed:
                    raise
                self._take_key(exchange, book)
        elif book.is_needed:
            self._take_key(exchange, book)
        else:
            self._check_address(exchange)

    def admit_browser(self, exchange: Exchange) -> bool:
        """Let a request to the dashboard in, which asks for a session itself while keys are needed, noting its origin.

        Returns whether keys are needed. Raises: Forbidden, StoreUnavailable.
        """
        if self._book is None or not self._book.is_needed:
            self._check_address(exchange)
            return False
        exchange.client = self._access.origin_of(exchange.connection.peer, exchange.headers)
        return True

    def _check_address(self, exchange: Exchange) -> None:
        is_forwarded = exchange.header(b"x-forwarded-for") is not None
        exchange.client = self._access.check(exchange.connection.peer, exchange.headers if is_forwarded else [])

    def _take_key(self, exchange: Exchange, book: KeyBook) -> None:
        exchange.key = key = self._key_of(exchange, book)
        if key.scope != "admin" and exchange.path.startswith(ADMIN_PREFIX):
            raise KeyForbidden(
                f"The key {_named(key)} is none for operators: the admin API asks for one of scope admin."
            )

    def _key_of(self, exchange: Exchange, book: KeyBook) -> Key:
        """Return the first key shown that holds. Raises: Unauthorized."""
        why = f"This gateway asks for a key, and the request shows none. {_HOW}."
        for secret in _shown(exchange):
            key = book.find(secret)
            if key is None:
                why = f"The key that was shown is not known: is it whole? {_HOW}, or ask the operator for one."
                continue
            ended = why_not_now(key, self._epoch_s())
            if ended is None:
                return key
            why = f"The key {_named(key)} {ended}: ask the operator for another one."
        raise Unauthorized(why)


def check_model(key: Key | None, name: str, names_of: Callable[[str], Iterable[str]]) -> None:
    """Raise KeyForbidden when a key may not ask for a model, whether there is one of that name or not.

    ``names_of``: all names of the model that a name is.
    """
    if key is not None and key.models and not may_ask(key, (name, *names_of(name))):
        raise KeyForbidden(f"The key {_named(key)} may not ask for '{name[:200]}'; GET /v1/models lists what it may.")


def entries_for(key: Key | None, entries: Entries) -> Entries:
    """Return those of ``FleetReads.model_entries`` that a key may ask for; all of them without a key."""
    if key is None or not key.models:
        return entries
    return [entry for entry in entries if may_ask(key, _names(entry))]


def names_in(entries: Entries, name: str) -> Iterator[str]:
    """Yield all names of the model that a name is, of those in ``FleetReads.model_entries``."""
    for entry in entries:
        names = tuple(_names(entry))
        if name in names:
            yield from names


def _names(entry: dict[str, object]) -> Iterator[str]:
    yield str(entry["id"])
    aliases = entry["aliases"]
    if isinstance(aliases, list | tuple):
        yield from map(str, aliases)


def _shown(exchange: Exchange) -> Iterator[bytes]:
    """Yield what the request shows as a key, where SDKs put one."""
    scheme, _, bearer = (exchange.header(b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        yield bearer.strip()
    for name in (b"x-api-key", b"api-key"):
        value = (exchange.header(name) or b"").strip()
        if value:
            yield value


def _named(key: Key) -> str:
    return f"'{key.name}' ({key.shown}…)"
