"""Responses in the store, kept for whichever gateway is asked to go on from one. See ``ports.ResponseShelf``.

The bounds hold from one sweep to the next: with the first record and every ``SWEEP_EVERY``-th after it, what is too old
goes, and of the rest the oldest that there are too many of; not all at once, so that no sweep takes long. Age is by the
database's clock.
"""

import logging
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from cortex.dialects.interface import Keep
from cortex.gateway.ports import ShelfLimit
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.schema import RESPONSE

SWEEP_EVERY = 16
SWEEP_MOST = 4 * SWEEP_EVERY
"""Records that one sweep drops for either reason; more than come until the next one."""
MAX_RECORD_BYTES = 8 << 20
"""What a database takes well within its deadline."""

log = logging.getLogger(__name__)


class StoredResponses:
    """The shelf of one gateway process; others use the same table."""

    def __init__(self, database: Database, limit: ShelfLimit) -> None:
        self._database = database
        self._limit = limit
        self._now = database_now(database.dialect)
        self._puts = 0

    async def put(self, kept: Keep) -> None:
        """See ``ports.ResponseShelf``."""
        if len(kept.record) > min(MAX_RECORD_BYTES, self._limit.max_bytes):
            log.info("response %s is not kept: it takes %d bytes", kept.id, len(kept.record))
            return

        def work(connection: Connection) -> None:
            connection.execute(self._writing(kept))
            if self._puts % SWEEP_EVERY == 0:
                connection.execute(delete(RESPONSE).where(RESPONSE.c.id.in_(self._old())))
                connection.execute(delete(RESPONSE).where(RESPONSE.c.id.in_(self._surplus())))

        await self._database.run(work)
        self._puts += 1

    async def get(self, response_id: str) -> bytes | None:
        """See ``ports.ResponseShelf``."""
        reading = select(RESPONSE.c.record).where(RESPONSE.c.id == response_id, ~self._is_old())
        found = await self._database.run(lambda connection: connection.execute(reading).scalar_one_or_none())
        return None if found is None else bytes(found)

    async def age_s(self, response_id: str) -> float | None:
        """See ``ports.ResponseShelf``."""
        reading = select(self._now - RESPONSE.c.kept_at_s).where(RESPONSE.c.id == response_id)
        found = await self._database.run(lambda connection: connection.execute(reading).scalar_one_or_none())
        return None if found is None else float(found)

    async def delete(self, response_id: str) -> bool:
        """See ``ports.ResponseShelf``."""
        deleting = delete(RESPONSE).where(RESPONSE.c.id == response_id)
        return await self._database.run(lambda connection: connection.execute(deleting).rowcount == 1)

    def _writing(self, kept: Keep) -> Any:
        insert = (postgresql if self._database.dialect == "postgresql" else sqlite).insert(RESPONSE)
        members = {"record": kept.record, "size_bytes": len(kept.record), "kept_at_s": self._now}
        return insert.values(id=kept.id, **members).on_conflict_do_update(index_elements=[RESPONSE.c.id], set_=members)

    def _is_old(self) -> Any:
        return RESPONSE.c.kept_at_s < self._now - self._limit.max_age_s

    def _old(self) -> Any:
        """Return the query for the ids of the oldest that are too old."""
        return select(RESPONSE.c.id).where(self._is_old()).order_by(RESPONSE.c.kept_at_s).limit(SWEEP_MOST)

    def _surplus(self) -> Any:
        """Return the query for the oldest ids that are over a bound when the newest stay."""
        newest_first = (RESPONSE.c.kept_at_s.desc(), RESPONSE.c.id)
        place = func.row_number().over(order_by=newest_first).label("place")
        total = func.sum(RESPONSE.c.size_bytes).over(order_by=newest_first).label("total_bytes")
        counted = select(RESPONSE.c.id, place, total).subquery()
        is_over = or_(counted.c.place > self._limit.max_count, counted.c.total_bytes > self._limit.max_bytes)
        return select(counted.c.id).where(is_over).order_by(counted.c.place.desc()).limit(SWEEP_MOST)
