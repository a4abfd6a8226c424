"""A store of sessions in memory, which several gateways can share, and which can fall silent."""

import asyncio
from collections.abc import Collection

from cortex.contract.error import StoreUnavailable
from cortex.gateway.admin.dashboard.session import Sessions
from cortex.gateway.ports import KeyBook, SessionRecord
from cortex.testing.virtual_clock import VirtualClock


class SessionShelf:
    """Implements ``ports.SessionStore``. ``clock`` is the database's; ``holds``: whether keys still hold there."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.rows: dict[bytes, tuple[SessionRecord, float]] = {}
        self.is_silent = False
        self.holds = True
        self.asked = 0

    async def begin(self, session: SessionRecord) -> bool:
        self._ask()
        if self.holds:
            self.rows[session.digest] = (session, self.clock.now_s() + session.left_s)
        return self.holds

    async def end(self, digests: Collection[bytes]) -> None:
        self._ask()
        for digest in digests:
            self.rows.pop(digest, None)

    def read(self) -> tuple[SessionRecord, ...]:
        now_s = self.clock.now_s()
        return tuple(
            SessionRecord(one.digest, one.key_id, one.key_digest, ends_s - now_s)
            for one, ends_s in self.rows.values()
            if ends_s > now_s
        )

    def _ask(self) -> None:
        self.asked += 1
        if self.is_silent:
            raise StoreUnavailable("the store cannot be asked: no route")


def look(sessions: Sessions, shelf: SessionShelf) -> None:
    """Have a gateway read the store, as its watch does."""
    reading = sessions.reading()
    sessions.take(shelf.read(), reading)
    if digests := sessions.unended():
        asyncio.run(shelf.end(digests))
        sessions.ended(digests)


def sessions_of(book: KeyBook, clock: VirtualClock, shelf: SessionShelf | None = None) -> Sessions:
    """Return the sessions of one gateway."""
    return Sessions(book, shelf or SessionShelf(clock), clock)
