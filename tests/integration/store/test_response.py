"""Both kinds of store keep responses, by their own words for it."""

import asyncio

from sqlalchemy import text

from cortex.dialects.interface import Keep
from cortex.gateway.ports import ShelfLimit
from cortex.gateway.store.database import Database
from cortex.gateway.store.response import SWEEP_EVERY, StoredResponses
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock


def test_responses_are_kept_replaced_found_deleted_and_swept(store_url: str) -> None:
    async def run() -> None:
        database = Database(parse_store_url(store_url), SystemClock(), deadline_s=30.0)
        try:
            await check(database, StoredResponses(database, ShelfLimit(max_count=2, max_bytes=1000)))
        finally:
            await database.close()

    asyncio.run(run())


async def check(database: Database, shelf: StoredResponses) -> None:
    for name, record in (("a", b"queued"), ("a", b"\x00completed"), ("b", b"x"), ("c", b"x")):
        await shelf.put(Keep(id=name, record=record))
    assert await shelf.get("a") == b"\x00completed"
    assert await shelf.delete("b")
    assert not await shelf.delete("b")
    assert await shelf.get("b") is None
    for _ in range(SWEEP_EVERY):
        await shelf.put(Keep(id="d", record=b"x" * 900))
    left = text("SELECT id FROM response ORDER BY id")
    assert list(await database.run(lambda connection: connection.execute(left).scalars().all())) == ["c", "d"]
