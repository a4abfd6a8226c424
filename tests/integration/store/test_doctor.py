"""A doctor reads a real store and leaves it as it was: an empty one stays empty, and keys are counted."""

import asyncio

import pytest

from cortex.cli.doctor.gateway.store import StoreLook, judge_reach, judge_schema, judge_store_clock, look_at
from cortex.contract.key import KeyWish
from cortex.gateway.store.database import Database
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock

LIMIT_S = 30.0


def look(url: str) -> StoreLook:
    return asyncio.run(look_at(parse_store_url(url), SystemClock(), LIMIT_S))


async def make_key(url: str) -> None:
    database = Database(parse_store_url(url), SystemClock(), deadline_s=LIMIT_S)
    try:
        await StoredKeys(database).create(KeyWish(name="one"))
    finally:
        await database.close()


def test_a_store_is_read_before_and_after_it_has_tables(store_url: str) -> None:
    for _ in range(2):  # the second look would see what the first one had made
        empty = look(store_url)
        assert (empty.why_not, empty.here, empty.keys) == ("", None, None)
    asyncio.run(make_key(store_url))
    seen = look(store_url)
    assert (seen.keys, seen.here == seen.newest) == (1, True)
    found = judge_reach(seen), judge_schema(seen), judge_store_clock(seen, parse_store_url(store_url))
    assert [each.result for each in found] == ["ok", "ok", "ok"]


def test_a_user_that_the_server_does_not_know_is_told(request: pytest.FixtureRequest) -> None:
    right = str(request.getfixturevalue("postgresql").new_database())
    place = right.partition("://")[2].rpartition("@")[2]
    seen = look(f"postgresql://stranger:s3cret@{place}")
    assert (judge_reach(seen).result, "stranger" in seen.why_not) == ("fail", True)
    assert "s3cret" not in str(seen)
