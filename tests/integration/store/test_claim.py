"""Claims of several processes at once, in a real PostgreSQL and in a file of SQLite."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import Database
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock

ROOT = Path(__file__).parents[3]
HOLDERS = ("one", "two", "three")
LIMIT_S = 60
ROUNDS, TERMS = 40, 15


def contender(url: str, holder: str, what: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "tests.integration.store.contender", url, holder, what]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def contest(url: str, what: str) -> dict[str, list[dict[str, Any]]]:
    """Let all of them do the same at once; return what each said."""
    running = {holder: contender(url, holder, what) for holder in HOLDERS}
    try:
        said = {holder: process.communicate(timeout=LIMIT_S)[0] for holder, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    assert [process.returncode for process in running.values()] == [0, 0, 0]
    return {holder: [json.loads(line) for line in text.splitlines()] for holder, text in said.items()}


@contextlib.asynccontextmanager
async def store(url: str) -> AsyncIterator[Database]:
    database = Database(parse_store_url(url), SystemClock(), deadline_s=30.0)
    try:
        yield database
    finally:
        await database.close()


def test_of_three_processes_exactly_one_gets_each_claim_and_all_agree_who(store_url: str) -> None:
    said = contest(store_url, f"race:{ROUNDS}")
    winners, told = defaultdict(list), defaultdict(set)
    for holder, claims in said.items():
        assert len(claims) == ROUNDS
        for claim in claims:
            told[claim["name"]].add(claim["holder"])
            if claim["is_mine"]:
                winners[claim["name"]].append(holder)
    assert {name: len(holders) for name, holders in winners.items()} == {
        f"load:{number}": 1 for number in range(ROUNDS)
    }
    assert {name: {winners[name][0]} for name in winners} == told


def test_every_term_of_a_steward_has_a_number_of_its_own_and_they_grow(store_url: str) -> None:
    said = contest(store_url, f"steward:{TERMS}")
    numbers = {holder: [claim["number"] for claim in claims] for holder, claims in said.items()}
    assert all(earlier < later for own in numbers.values() for earlier, later in pairwise(own))
    everybodys = sorted(number for own in numbers.values() for number in own)
    assert everybodys == list(range(everybodys[0], everybodys[0] + 3 * TERMS))


def test_the_claim_of_one_that_was_killed_is_taken_over_after_its_time_and_not_before(store_url: str) -> None:
    ttl_s = 1.5

    async def take_over() -> tuple[float, int]:
        async with store(store_url) as database:
            claims, clock = StoredClaims(database, "heir"), SystemClock()
            found = await claims.claim("steward", "", 3600)
            assert not found.is_mine
            assert 0 < found.expires_in_s <= ttl_s
            due_s, number = clock.now_s() + found.expires_in_s, found.number
            while not found.is_mine:
                found = await claims.claim("steward", "", 3600)
            assert found.number > number
            return clock.now_s(), due_s

    with killed(store_url, f"hold:{ttl_s}"):
        taken_s, due_s = asyncio.run(take_over())
    assert taken_s >= due_s - 0.1


@contextlib.contextmanager
def killed(url: str, what: str) -> Iterator[None]:
    """Let one take a claim, and kill it."""
    with contender(url, "victim", what) as victim:
        try:
            assert victim.stdout is not None
            assert json.loads(victim.stdout.readline())["is_mine"]
        finally:
            victim.kill()
    yield


def test_gateways_that_start_at_once_make_the_tables_once(store_url: str) -> None:
    async def start() -> list[int]:
        databases = [Database(parse_store_url(store_url), SystemClock(), deadline_s=30.0) for _ in range(5)]
        try:
            claims = [StoredClaims(database, str(index)) for index, database in enumerate(databases)]
            found = await asyncio.gather(*(one.claim("steward", "", 60) for one in claims))
            return [claim.is_mine for claim in found]
        finally:
            await asyncio.gather(*(database.close() for database in databases))

    assert sorted(asyncio.run(start())) == [False] * 4 + [True]
