"""The book of each key's limits in the store: a row per key, read, decided upon and written in one transaction.

What is decided, ``fleet.quota_book`` says, by the database's clock. An upsert takes the row and locks it, so whoever
asks for the same key waits for its end. A gateway that is stopped in between holds it for ``LOCKED_MS`` at most.
"""

import msgspec
from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key, KeyUse
from cortex.fleet.quota import QuotaAnswer, QuotaReport
from cortex.fleet.quota_book import QuotaBook, settle, use_now
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.schema import QUOTA

LOCKED_MS = 1500
"""PostgreSQL ends a transaction that stands still for so long; SQLite's ends with its process, or thaws with it."""

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(QuotaBook).decode


class StoredQuota:
    """The limits that all gateways of a store count together. Implements ``ports.Quota``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now = database_now(database.dialect)
        self._insert = (postgresql if database.dialect == "postgresql" else sqlite).insert

    async def settle(self, report: QuotaReport) -> QuotaAnswer | None:
        """See ``ports.Quota``."""
        first = self._insert(QUOTA).values(key_id=report.key_id, book="{}")
        taking = first.on_conflict_do_update(
            index_elements=[QUOTA.c.key_id], set_={"key_id": first.excluded.key_id}
        ).returning(QUOTA.c.book, self._now.label("now_s"))
        writing = update(QUOTA).where(QUOTA.c.key_id == report.key_id)

        def work(connection: Connection) -> QuotaAnswer | None:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {LOCKED_MS}"))
            row = connection.execute(taking).one()
            book = _decode(row.book)
            answer = settle(book, report, row.now_s)
            if answer is not None:
                connection.execute(writing.values(book=_encode(book).decode()))
            return answer

        try:
            return await self._database.run(work)
        except msgspec.MsgspecError as exc:
            raise StoreUnavailable(f"what is counted of a key is of another version: {exc}") from exc

    async def use_of(self, key: Key) -> KeyUse:
        """Return how the limits of a key stand."""
        reading = select(QUOTA.c.book).where(QUOTA.c.key_id == key.id)

        def work(connection: Connection) -> tuple[float, str]:
            now_s = connection.execute(select(self._now)).scalar_one()
            return now_s, connection.execute(reading).scalar_one_or_none() or "{}"

        now_s, text_of_book = await self._database.run(work)
        try:
            return KeyUse(id=key.id, name=key.name, limits=use_now(_decode(text_of_book), key.limits, now_s))
        except msgspec.MsgspecError as exc:
            raise StoreUnavailable(f"what is counted of a key is of another version: {exc}") from exc
