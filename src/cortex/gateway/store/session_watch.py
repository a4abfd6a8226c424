"""Keeps the sessions in a gateway's memory what they are in the store; ``KeyWatch`` says when to look."""

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from cortex.gateway.ports import SessionRecord
from cortex.gateway.store.session import StoredSessions

R = TypeVar("R")


class SessionBook(Protocol[R]):
    """What is kept up to date; ``admin/dashboard/session.py`` has it."""

    def reading(self) -> R:
        """The store is about to be read: return what ``take`` wants to know of this moment."""

    def take(self, records: tuple[SessionRecord, ...], reading: R) -> None:
        """Go on with these sessions."""

    def unended(self) -> tuple[bytes, ...]:
        """Return the digests of those who have signed out while the store could not be asked."""

    def ended(self, digests: Collection[bytes]) -> None:
        """They are out of the store."""


class SessionWatch(Generic[R]):
    """Reads the sessions of ``stored`` into ``book``, and does what could not be done before."""

    def __init__(self, stored: StoredSessions, book: SessionBook[R]) -> None:
        self._stored = stored
        self._book = book

    async def read(self) -> None:
        """Read all of them. Raises: StoreUnavailable."""
        reading = self._book.reading()
        self._book.take(await self._stored.read(), reading)

    async def settle(self) -> None:
        """End in the store what has ended here. Raises: StoreUnavailable."""
        if digests := self._book.unended():
            await self._stored.end(digests)
            self._book.ended(digests)
