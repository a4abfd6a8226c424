"""The usage ledger in the store: requests written in batches, summed up, and listed. See ``ports.UsageLog``, ``Usage``.

A batch that is written again is not counted twice, for it may be there though its writer was not told so.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, and_, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from cortex.contract.usage import UsageEntry, UsageGroup, UsageSum
from cortex.gateway.ports import UsageSpan
from cortex.gateway.store.database import Database
from cortex.gateway.store.engine import go_on_reading
from cortex.gateway.store.schema import USAGE
from cortex.kit.utc import DAY_S, day_text

T = TypeVar("T")

_COLUMNS = {"key": "key_name", "stream": "is_stream", "started_epoch_s": "started_s"}
"""Members of an entry whose columns have another name."""
_GROUPS = {name: USAGE.c[_COLUMNS.get(name, name)] for name in ("key", "model", "node", "day", "operation")}
_NOT_FAILED = ("ok", "client_gone")


class StoredUsage:
    """The ledger of all gateways that share a store. Sums take long: their database should be nobody's who has to be
    quick."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = (postgresql if database.dialect == "postgresql" else sqlite).insert(USAGE)

    async def write(self, entries: Sequence[UsageEntry]) -> None:
        """See ``ports.UsageLog``."""
        rows = [_row(entry) for entry in entries]
        writing = self._insert.on_conflict_do_nothing(index_elements=[USAGE.c.id])
        await self._database.run(lambda connection: connection.execute(writing, rows))

    async def sums(self, by: Sequence[UsageGroup], span: UsageSpan, limit: int) -> tuple[UsageSum, ...]:
        """See ``ports.Usage``."""
        groups = [_GROUPS[name] for name in by]
        days = [USAGE.c.day] if "day" in by else []
        asking = select(*(_GROUPS[name].label(name) for name in by), *_amounts()).where(*_within(span))
        if groups:
            asking = asking.group_by(*groups).order_by(*days, func.count().desc(), *groups)
        rows = await self._read(lambda connection: connection.execute(asking.limit(limit)).mappings().all())
        return tuple(_sum(row) for row in rows if row["requests"] or not groups)

    async def requests(self, span: UsageSpan, after: tuple[float, str] | None, limit: int) -> tuple[UsageEntry, ...]:
        """See ``ports.Usage``."""
        when, number = USAGE.c.started_s, USAGE.c.id
        asking = select(USAGE).where(*_within(span)).order_by(when, number).limit(limit)
        if after is not None:
            asking = asking.where(when >= after[0], or_(when > after[0], and_(when == after[0], number > after[1])))
        rows = await self._read(lambda connection: connection.execute(asking).mappings().all())
        return tuple(_entry(row) for row in rows)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        is_given_up = False

        def reading(connection: Connection) -> T:
            go_on_reading(connection, lambda: is_given_up)
            return work(connection)

        try:
            return await self._database.run(reading)
        finally:
            is_given_up = True


def _row(entry: UsageEntry) -> dict[str, Any]:
    row = {_COLUMNS.get(name, name): value for name, value in msgspec.structs.asdict(entry).items()}
    row["day"] = int(entry.started_epoch_s // DAY_S)
    return row


def _entry(row: Any) -> UsageEntry:
    fields = UsageEntry.__struct_fields__
    return UsageEntry(**{name: row[_COLUMNS.get(name, name)] for name in fields})


def _amounts() -> list[Any]:
    is_failed = case((USAGE.c.outcome.not_in(_NOT_FAILED), 1), else_=0)
    sums = {
        "failed": is_failed,
        "cold_starts": case((USAGE.c.cold_start, 1), else_=0),
        "prompt_tokens": USAGE.c.prompt_tokens,
        "completion_tokens": USAGE.c.completion_tokens,
        "total_tokens": USAGE.c.total_tokens,
        "duration_s": USAGE.c.duration_s,
    }
    return [
        func.count().label("requests"),
        *(func.coalesce(func.sum(amount), 0).label(name) for name, amount in sums.items()),
        func.avg(USAGE.c.first_token_s).label("mean_first_token_s"),
    ]


def _within(span: UsageSpan) -> list[Any]:
    wanted: list[Any] = [USAGE.c.started_s >= span.since_s, USAGE.c.started_s < span.until_s]
    for name in ("key", "model", "node", "operation"):
        value = getattr(span, name)
        if value is not None:
            wanted.append(_GROUPS[name] == value)
    return wanted


def _sum(row: Any) -> UsageSum:
    """Return a row of sums; whole numbers are whatever the driver makes of a sum of integers."""
    values = dict(row)
    for name in ("requests", "failed", "cold_starts", "prompt_tokens", "completion_tokens", "total_tokens"):
        values[name] = int(values[name])
    values["duration_s"] = float(values["duration_s"])
    if "day" in values:
        values["day"] = day_text(values["day"])
    return UsageSum(**values)
