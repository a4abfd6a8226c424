"""Sessions of the dashboard in the store, for all gateways that share it. See ``ports.SessionStore``.

Of what a browser has nothing is kept but its hash, so who reads the store can be nobody. A key has a bounded number of
sessions, and those that have ended go when another one begins. Every change counts as one of the keys, so gateways
hear of it as they hear of those. Times are the database's.
"""

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, or_, select

from cortex.gateway.ports import SessionRecord
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.revision import count_change
from cortex.gateway.store.schema import API_KEY, DASHBOARD_SESSION

MAX_OF_KEY = 32
"""Sessions that one key may have at a time; of more, the oldest end."""

_OF = DASHBOARD_SESSION.c


class StoredSessions:
    """The sessions of all gateways that share a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = database_now(database.dialect)

    async def read(self) -> tuple[SessionRecord, ...]:
        """Return those that have not ended. Raises: StoreUnavailable."""
        left_s = (_OF.ends_s - self._now).label("left_s")
        reading = select(_OF.digest, _OF.key_id, _OF.key_digest, left_s).where(_OF.ends_s > self._now)

        def work(connection: Connection) -> tuple[SessionRecord, ...]:
            return tuple(
                SessionRecord(bytes(row.digest), row.key_id, bytes(row.key_digest), row.left_s)
                for row in connection.execute(reading)
            )

        return await self._database.run(work)

    async def begin(self, session: SessionRecord) -> bool:
        """See ``ports.SessionStore``."""
        of_key = _OF.key_id == session.key_id
        stay = select(_OF.digest).where(of_key).order_by(_OF.begun_s.desc()).limit(MAX_OF_KEY - 1)
        clearing = delete(DASHBOARD_SESSION).where(or_(_OF.ends_s <= self._now, of_key & _OF.digest.not_in(stay)))
        making = insert(DASHBOARD_SESSION).values(
            digest=session.digest,
            key_id=session.key_id,
            key_digest=session.key_digest,
            begun_s=self._now,
            ends_s=self._now + session.left_s,
        )
        holds = select(API_KEY.c.id).where(
            API_KEY.c.id == session.key_id, API_KEY.c.digest == session.key_digest, API_KEY.c.revoked_s.is_(None)
        )

        def work(connection: Connection) -> bool:
            count_change(connection)  # first, so that two that begin at once are counted one after the other
            if connection.execute(holds).one_or_none() is None:
                return False
            connection.execute(clearing)
            connection.execute(making)
            return True

        return await self._database.run(work)

    async def end(self, digests: Collection[bytes]) -> None:
        """See ``ports.SessionStore``."""
        ending = delete(DASHBOARD_SESSION).where(_OF.digest.in_(tuple(digests)))

        def work(connection: Connection) -> None:
            if connection.execute(ending).rowcount:
                count_change(connection)

        await self._database.run(work)
