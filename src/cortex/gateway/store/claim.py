"""Claims in the store: what one gateway at a time does, for a while, by the database's clock. See ``ports.Claims``.

One statement decides: the row is written where there is none, where it has expired, or where it is the caller's own.
Its number grows with every new holder and never goes back, since rows stay; it is no less than the epoch second, so
that it does not go back either where a database was lost or restored.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cortex.gateway.ports import Claim
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.schema import CLAIM


class StoredClaims:
    """The claims of one gateway process: ``holder`` must be no other's, also of no earlier process."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._now = database_now(database.dialect)

    async def claim(self, name: str, target: str, ttl_s: float) -> Claim:
        """See ``ports.Claims``."""

        def work(connection: Connection) -> Claim:
            won = connection.execute(self._taking(name, target, ttl_s)).one_or_none()
            if won is not None:
                return _claim(won, is_mine=True)
            return _claim(connection.execute(self._reading(name)).one(), is_mine=False)

        return await self._database.run(work)

    async def renew(self, claim: Claim, ttl_s: float) -> bool:
        """See ``ports.Claims``."""
        renewing = self._mine(claim).where(CLAIM.c.expires_at_s > self._now).values(expires_at_s=self._now + ttl_s)
        return await self._database.run(lambda connection: connection.execute(renewing).rowcount == 1)

    async def release(self, claim: Claim) -> None:
        """See ``ports.Claims``."""
        releasing = self._mine(claim).values(expires_at_s=0.0)
        await self._database.run(lambda connection: connection.execute(releasing))

    def _taking(self, name: str, target: str, ttl_s: float) -> Any:
        """Return the statement that takes a claim; it returns a row only where that succeeds."""
        insert = (postgresql if self._database.dialect == "postgresql" else sqlite).insert(CLAIM)
        whole_s = cast(self._now, BigInteger)
        new = insert.values(
            name=name, holder=self._holder, target=target, number=whole_s, expires_at_s=self._now + ttl_s
        )
        is_free = CLAIM.c.expires_at_s <= self._now
        is_mine = CLAIM.c.holder == self._holder
        next_number = case((CLAIM.c.number >= whole_s, CLAIM.c.number + 1), else_=whole_s)
        return new.on_conflict_do_update(
            index_elements=[CLAIM.c.name],
            set_={
                "holder": new.excluded.holder,
                "target": new.excluded.target,
                "number": case((is_free, next_number), else_=CLAIM.c.number),
                "expires_at_s": self._now + ttl_s,
            },
            where=is_free | is_mine,
        ).returning(*self._columns())

    def _reading(self, name: str) -> Any:
        return select(*self._columns()).where(CLAIM.c.name == name)

    def _columns(self) -> tuple[ColumnElement[Any], ...]:
        left_s = (CLAIM.c.expires_at_s - self._now).label("expires_in_s")
        return CLAIM.c.name, CLAIM.c.holder, CLAIM.c.target, CLAIM.c.number, left_s

    def _mine(self, claim: Claim) -> Any:
        return update(CLAIM).where(
            CLAIM.c.name == claim.name, CLAIM.c.holder == self._holder, CLAIM.c.number == claim.number
        )


def _claim(row: Any, *, is_mine: bool) -> Claim:
    return Claim(
        name=row.name,
        holder=row.holder,
        target=row.target,
        number=row.number,
        is_mine=is_mine,
        expires_in_s=max(0.0, row.expires_in_s),
    )
