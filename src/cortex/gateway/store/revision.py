"""Counts the changes of keys and sessions, so that gateways which hold them in memory read them anew.

The number grows in the transaction of the change; on PostgreSQL who listens on ``CHANNEL`` is woken, too.
"""

from sqlalchemy import BigInteger, Connection, case, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cortex.gateway.store.moment import database_now
from cortex.gateway.store.schema import REVISION

CHANNEL = "cortex_api_key"

_NAME = "api_key"


def read_revision(connection: Connection) -> int:
    """Return the number as it is now, 0 before the first change."""
    reading = select(REVISION.c.number).where(REVISION.c.name == _NAME)
    return connection.execute(reading).scalar_one_or_none() or 0


def count_change(connection: Connection) -> None:
    """Count a change. Until the transaction ends, nobody else's goes on from here."""
    dialect = connection.dialect.name
    whole_s = cast(database_now(dialect), BigInteger)
    later = case((REVISION.c.number >= whole_s, REVISION.c.number + 1), else_=whole_s)
    first = (postgresql if dialect == "postgresql" else sqlite).insert(REVISION).values(name=_NAME, number=whole_s)
    connection.execute(first.on_conflict_do_update(index_elements=[REVISION.c.name], set_={"number": later}))
    if dialect == "postgresql":
        connection.execute(select(func.pg_notify(CHANNEL, "")))
