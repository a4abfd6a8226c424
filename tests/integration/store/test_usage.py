"""Both kinds of store keep usage, sum it up by their own words, list it in pages, and drop what is too old."""

import msgspec
from tests.integration.store.ledger import an_entry, with_database

from cortex.contract.usage import UsageEntry, UsageGroup, UsageSum
from cortex.gateway.ports import UsageSpan
from cortex.gateway.store import usage_retention
from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import Database
from cortex.gateway.store.usage import StoredUsage
from cortex.gateway.store.usage_retention import UsageRetention
from cortex.kit.clock import SystemClock

DAY_S = 86400.0
FIRST_S = 20_000 * DAY_S
"""2024-10-04."""
ENTRIES = (
    an_entry(0, FIRST_S + 1, key="alice", total_tokens=2**40),
    an_entry(1, FIRST_S + 2, key="alice", outcome="failed", error="upstream_broken", first_token_s=None),
    an_entry(2, FIRST_S + DAY_S - 0.001, key="bob", outcome="client_gone", cold_start=True),
    an_entry(3, FIRST_S + DAY_S, key="(loopback)", model="", node="", outcome="refused", prompt_tokens=None),
    an_entry(4, FIRST_S + DAY_S, key="alice", model="b", operation="embeddings", total_tokens=2**40),
)
ALL = UsageSpan(since_s=FIRST_S, until_s=FIRST_S + 2 * DAY_S)


def test_usage_is_summed_up_by_whatever_is_asked(store_url: str) -> None:
    async def check(database: Database) -> None:
        usage = StoredUsage(database)
        await usage.write(ENTRIES)
        await usage.write(ENTRIES[3:])  # again
        assert await counted(usage, "key") == [("alice", 3), ("(loopback)", 1), ("bob", 1)]
        assert await counted(usage, "model") == [("org/m", 3), ("", 1), ("b", 1)]
        assert await counted(usage, "node") == [("beast", 4), ("", 1)]
        assert await counted(usage, "operation") == [("chat", 4), ("embeddings", 1)]
        assert await counted(usage, "day") == [("2024-10-04", 3), ("2024-10-05", 2)]
        assert await counted(usage, "day", "key") == [
            ("2024-10-04", "alice", 2),
            ("2024-10-04", "bob", 1),
            ("2024-10-05", "(loopback)", 1),
            ("2024-10-05", "alice", 1),
        ]
        assert len(await usage.sums(["key", "model"], ALL, 2)) == 2
        (whole,) = await usage.sums([], ALL, 1)
        assert whole == UsageSum(
            requests=5,
            failed=2,
            cold_starts=1,
            prompt_tokens=40,
            completion_tokens=100,
            total_tokens=2 * 2**40 + 90,
            duration_s=7.5,
            mean_first_token_s=0.25,
        )
        (none,) = await usage.sums([], msgspec.structs.replace(ALL, key="nobody"), 1)
        assert (none.requests, none.total_tokens, none.mean_first_token_s) == (0, 0, None)
        assert await usage.sums(["key"], msgspec.structs.replace(ALL, key="nobody"), 1) == ()
        bobs = msgspec.structs.replace(ALL, key="bob", model="org/m", node="beast", operation="chat")
        assert [found.requests for found in await usage.sums([], bobs, 1)] == [1]

    with_database(store_url, check)


async def counted(usage: StoredUsage, *by: UsageGroup) -> list[tuple[object, ...]]:
    return [(*(getattr(found, name) for name in by), found.requests) for found in await usage.sums(by, ALL, 100)]


def test_requests_are_listed_in_pages_as_they_were_written(store_url: str) -> None:
    async def check(database: Database) -> None:
        usage = StoredUsage(database)
        await usage.write(ENTRIES)
        found: list[UsageEntry] = []
        while page := await usage.requests(ALL, place_of(found[-1]) if found else None, 2):
            found.extend(page)
        assert tuple(found) == ENTRIES
        first_day = UsageSpan(since_s=FIRST_S + 2, until_s=FIRST_S + DAY_S, key="bob")
        assert await usage.requests(first_day, None, 10) == (ENTRIES[2],)

    with_database(store_url, check)


def place_of(entry: UsageEntry) -> tuple[float, str]:
    return entry.started_epoch_s, entry.id


def test_what_is_too_old_goes_a_little_at_a_time_and_by_one_gateway(store_url: str) -> None:
    async def check(database: Database) -> None:
        usage, now_s = StoredUsage(database), SystemClock().epoch_s()
        count = usage_retention.BATCH + 3
        await usage.write([an_entry(number, now_s - 3 * DAY_S + number) for number in range(count)])
        young = an_entry(count, now_s - 1.9 * DAY_S)
        await usage.write([young])
        mine, others = StoredClaims(database, "mine"), StoredClaims(database, "others")
        held = await others.claim(usage_retention.NAME, "", 60.0)
        retention = UsageRetention(database, mine, 2, pause_s=0)
        assert await retention.prune() == 0
        await others.release(held)
        assert await retention.prune() == count
        assert await retention.prune() == 0
        everything = UsageSpan(since_s=0.0, until_s=now_s)
        assert await usage.requests(everything, None, 10) == (young,)

    with_database(store_url, check)
