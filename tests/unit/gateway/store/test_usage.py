"""What the store makes of entries, where one of its kinds is enough to tell; the rest is in tests/integration/store."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.integration.store.ledger import an_entry, with_database

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import UsageSpan
from cortex.gateway.store.database import Database
from cortex.gateway.store.usage import StoredUsage

ALL = UsageSpan(since_s=0.0, until_s=1000.0)
ENTRIES = tuple(an_entry(number, 5.0) for number in range(5))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_a_batch_is_written_whole_or_not_at_all(url: str) -> None:
    async def check(database: Database) -> None:
        usage = StoredUsage(database)
        with pytest.raises(StoreUnavailable):
            await usage.write([ENTRIES[0], an_entry(1, 5.0, model=None)])

    async def check_again(database: Database) -> None:
        assert await StoredUsage(database).requests(ALL, None, 10) == ()

    with_database(url, check)
    with_database(url, check_again)


def test_entries_of_one_moment_are_paged_by_their_ids(url: str) -> None:
    async def check(database: Database) -> None:
        usage = StoredUsage(database)
        await usage.write(ENTRIES[::-1])
        first = await usage.requests(ALL, None, 2)
        rest = await usage.requests(ALL, (5.0, first[-1].id), 10)
        assert (*first, *rest) == ENTRIES

    with_database(url, check)


def test_a_span_begins_with_its_first_moment_and_ends_before_its_last(url: str) -> None:
    async def check(database: Database) -> None:
        usage = StoredUsage(database)
        await usage.write(ENTRIES)
        for since_s, until_s, count in ((5.0, 5.1, 5), (4.0, 5.0, 0), (5.1, 9.0, 0)):
            span = UsageSpan(since_s=since_s, until_s=until_s)
            assert len(await usage.requests(span, None, 10)) == count
            assert [found.requests for found in await usage.sums([], span, 1)] == [count]

    with_database(url, check)


def test_a_report_keeps_nobody_from_writing(url: str) -> None:
    async def check(database: Database) -> None:
        original = database.run

        def run(work: Callable[[Connection], object]) -> Awaitable[object]:
            def slow(connection: Connection) -> object:
                found = work(connection)
                with_database(url, lambda other: StoredUsage(other).write(ENTRIES), deadline_s=5.0)
                return found

            return original(slow)

        usage = StoredUsage(database)
        await usage.write(ENTRIES[:1])
        database.run = run  # type: ignore[method-assign, assignment]
        (before,) = await usage.sums([], ALL, 1)
        (after,) = await usage.sums([], ALL, 1)
        assert (before.requests, after.requests) == (1, len(ENTRIES))

    with_database(url, check)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("started_s >= 1", "usage_by_time"),
        ("started_s >= 1 AND key_name = 'x'", "usage_by_key"),
        ("started_s >= 1 AND model = 'x'", "usage_by_model"),
    ],
)
def test_what_is_asked_for_often_has_its_index(url: str, wanted: str, index: str) -> None:
    asking = text(f"EXPLAIN QUERY PLAN SELECT count(*) FROM usage WHERE {wanted}")

    async def check(database: Database) -> None:
        (plan,) = await database.run(lambda connection: connection.execute(asking).all())
        assert index in plan[-1]

    with_database(url, check)
