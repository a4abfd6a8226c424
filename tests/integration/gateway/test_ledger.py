"""What a gateway served is in its ledger, though the database was killed meanwhile; what is not is counted exactly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Counters, Scene, staged, until
from tests.postgresql import PostgreSQL

from cortex.contract.usage import UsagePage, UsageReport
from cortex.gateway import usage_opening
from cortex.gateway.data import ledger
from cortex.gateway.store import database


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for that only spares a database work."""
    monkeypatch.setattr(ledger, "FLUSH_S", 0.01)
    monkeypatch.setattr(database, "FIRST_REST_S", 0.01)
    monkeypatch.setattr(database, "LONGEST_REST_S", 0.05)


@contextlib.asynccontextmanager
async def kept(url: str, counters: Counters) -> AsyncIterator[Scene]:
    async with staged(counters, good, store_url=url) as it:
        yield it


def the_ledger(it: Scene) -> ledger.Ledger:
    found = it.gateway._usage._ledger
    assert found is not None
    return found


async def served(it: Scene, count: int) -> None:
    answers = await asyncio.gather(*(it.ask(ASK_STREAM if number % 2 else ASK) for number in range(count)))
    assert [answer.status for answer in answers] == [200] * count
    it.gateway._records.hand_over()


async def report(it: Scene, query: str = "") -> UsageReport:
    """Sum up, once everything is written and the database that is read is not left alone any more."""
    it.gateway._records.hand_over()
    await until(lambda: not the_ledger(it).pending)
    while (answer := await it.get(f"/admin/v1/usage?{query}")).status == 503:
        pass
    return msgspec.json.decode(answer.body, type=UsageReport)


async def error_of(it: Scene, path: str) -> tuple[int, str]:
    answer = await it.get(path)
    return answer.status, msgspec.json.decode(answer.body)["error"]["message"]


def test_no_request_is_lost_with_the_database_and_what_the_ledger_misses_is_counted(
    own_postgresql: PostgreSQL, in_flight_zero: Counters
) -> None:
    async def run(url: str) -> None:
        async with kept(url, in_flight_zero) as it:
            await served(it, 5)
            assert (await report(it)).sums[0].requests == 5
            await asyncio.to_thread(own_postgresql.stop)
            the_ledger(it)._max_pending = 4
            await served(it, 7)
            await until(lambda: the_ledger(it).pending == 4)
            assert await it.metric("cortex_ledger_lost_total") == 3
            await asyncio.to_thread(own_postgresql.start)
            await served(it, 2)
            (whole,) = (await report(it)).sums
            lost = await it.metric("cortex_ledger_lost_total")
            assert the_ledger(it).written == whole.requests == 14 - lost
            assert lost in (3, 4, 5), "what came while the queue was still full is counted, too"
            assert len(it.records) == 14

    asyncio.run(run(own_postgresql.new_database()))


def test_a_stop_writes_what_is_not_written_yet(
    tmp_path: Path, in_flight_zero: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setattr(usage_opening, "GRACE_S", 20.0)

    async def run() -> None:
        monkeypatch.setattr(ledger, "FLUSH_S", 3600.0)
        async with kept(url, in_flight_zero) as it:
            await served(it, 3)
            assert the_ledger(it).pending == 3
        async with kept(url, in_flight_zero) as it:
            assert (await report(it)).sums[0].requests == 3

    asyncio.run(run())


def test_operators_see_sums_csv_and_requests(tmp_path: Path, in_flight_zero: Counters) -> None:
    async def run() -> None:
        async with kept(f"sqlite:///{tmp_path}/store.db", in_flight_zero) as it:
            await served(it, 2)
            assert (await it.ask({**ASK, "model": "unknown"})).status == 404
            found = await report(it, "by=model,operation&since=1h")
            assert [(line.model, line.operation, line.requests, line.failed) for line in found.sums] == [
                (MODEL, "chat", 2, 0),
                ("", "chat", 1, 1),
            ]
            answer = await it.get("/admin/v1/usage?by=key&format=csv")
            assert answer.header("content-type").startswith("text/csv")
            assert answer.body.splitlines()[1].startswith(b"(loopback),3,1,0,")
            page = msgspec.json.decode((await it.get("/admin/v1/usage/requests?limit=2")).body, type=UsagePage)
            rest = await it.get(f"/admin/v1/usage/requests?limit=2&after={page.next}")
            last = msgspec.json.decode(rest.body, type=UsagePage)
            assert (len(page.requests), len(last.requests), last.next) == (2, 1, None)
            assert {entry.request_id for entry in (*page.requests, *last.requests)} == {
                record.request_id for record in it.records
            }

    asyncio.run(run())


def test_without_a_store_operators_are_told_what_to_configure(in_flight_zero: Counters) -> None:
    async def run() -> None:
        async with staged(in_flight_zero, good) as it:
            for path in ("/admin/v1/usage", "/admin/v1/usage/requests"):
                status, message = await error_of(it, path)
                assert (status, "Set url in [store]" in message) == (400, True)

    asyncio.run(run())
