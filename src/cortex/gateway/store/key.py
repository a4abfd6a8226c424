"""Keys in the store: made, listed, ended, and given another secret. See ``ports.Keys``.

Of a secret nothing is kept but what ``key_secret`` makes of it. Every change is counted (``revision``) in its own
transaction. Times are the database's.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, insert, select, update

from cortex.contract.error import CallerError, KeyNotFound, StoreUnavailable
from cortex.contract.key import Key, KeyLimits, KeyMade, KeyUse, KeyWish
from cortex.gateway.key_secret import digest_of, new_secret, shown_of
from cortex.gateway.ports import KeyRecord
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.quota import StoredQuota
from cortex.gateway.store.revision import count_change, read_revision
from cortex.gateway.store.schema import API_KEY

_encode = msgspec.json.encode

M = TypeVar("M", Key, KeyMade)


class StoredKeys:
    """The keys of all gateways that share a store; ``changed`` hears of every change that was made here, and is waited
    for: whoever has made a key may use it at once."""

    def __init__(self, database: Database, changed: Callable[[], Awaitable[None]] | None = None) -> None:
        self._database = database
        self._now = database_now(database.dialect)
        self._changed = changed

    async def list_all(self) -> tuple[Key, ...]:
        """See ``ports.Keys``."""
        return tuple(record.key for record in (await self.read())[1])

    async def read(self, known: int = -1) -> tuple[int, tuple[KeyRecord, ...]]:
        """Return the revision and all keys, the oldest first; no keys where the revision is still ``known``.

        Raises: StoreUnavailable, also for what only another version understands: to leave a key out could open a door.
        """

        def work(connection: Connection) -> tuple[int, tuple[KeyRecord, ...]]:
            number = read_revision(connection)
            if number == known:
                return number, ()
            rows = connection.execute(select(API_KEY).order_by(API_KEY.c.created_s, API_KEY.c.id))
            return number, tuple(_record(row) for row in rows)

        try:
            return await self._database.run(work)
        except msgspec.MsgspecError as exc:
            raise StoreUnavailable(f"the keys in the store are of another version: {exc}") from exc

    async def use_of(self, key_id: str) -> KeyUse:
        """See ``ports.Keys``."""
        key = await self._database.run(lambda connection: _find(connection, key_id))
        return await StoredQuota(self._database).use_of(key)

    async def create(self, wish: KeyWish) -> KeyMade:
        """See ``ports.Keys``."""
        secret, key_id = new_secret(), f"key_{secrets.token_hex(8)}"
        ends = None if wish.expires_in_s is None else self._now + wish.expires_in_s
        making = insert(API_KEY).values(
            id=key_id,
            name=wish.name,
            scope=wish.scope,
            models=_encode(wish.models).decode(),
            queue_priority=wish.queue_priority,
            limits=_encode(wish.limits).decode(),
            created_s=self._now,
            expires_s=ends,
            **_of_secret(secret),
        )

        def work(connection: Connection) -> KeyMade:
            connection.execute(making)
            return KeyMade(key=_after_change(connection, key_id), secret=secret)

        return await self._told(await self._database.run(work))

    async def revoke(self, key_id: str) -> Key:
        """See ``ports.Keys``."""
        ending = update(API_KEY).where(API_KEY.c.id == key_id, API_KEY.c.revoked_s.is_(None))

        def work(connection: Connection) -> Key:
            _find(connection, key_id)
            connection.execute(ending.values(revoked_s=self._now))
            return _after_change(connection, key_id)

        return await self._told(await self._database.run(work))

    async def rotate(self, key_id: str) -> KeyMade:
        """See ``ports.Keys``."""
        secret = new_secret()
        changing = update(API_KEY).where(API_KEY.c.id == key_id, API_KEY.c.revoked_s.is_(None))

        def work(connection: Connection) -> KeyMade | None:
            _find(connection, key_id)
            if connection.execute(changing.values(**_of_secret(secret))).rowcount != 1:
                return None
            return KeyMade(key=_after_change(connection, key_id), secret=secret)

        made = await self._database.run(work)
        if made is None:
            raise CallerError(f"The key {key_id} was revoked, which is for good: make another one.")
        return await self._told(made)

    async def _told(self, made: M) -> M:
        if self._changed is not None:
            await self._changed()
        return made


def _after_change(connection: Connection, key_id: str) -> Key:
    """Tell all gateways; return the key as it is now."""
    count_change(connection)
    return _find(connection, key_id)


def _of_secret(secret: str) -> dict[str, Any]:
    return {"digest": digest_of(secret.encode()), "shown": shown_of(secret)}


def _find(connection: Connection, key_id: str) -> Key:
    row = connection.execute(select(API_KEY).where(API_KEY.c.id == key_id)).one_or_none()
    if row is None:
        raise KeyNotFound(f"No key has the id {key_id[:100]!r}; the list of keys has the ids.")
    return _record(row).key


def _record(row: Any) -> KeyRecord:
    key = Key(
        id=row.id,
        name=row.name,
        shown=row.shown,
        scope=row.scope,
        models=msgspec.json.decode(row.models, type=tuple[str, ...]),
        queue_priority=row.queue_priority,
        limits=msgspec.json.decode(row.limits, type=KeyLimits),
        created_s=row.created_s,
        expires_s=row.expires_s,
        revoked_s=row.revoked_s,
    )
    return KeyRecord(bytes(row.digest), key)
