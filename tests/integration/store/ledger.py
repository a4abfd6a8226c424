"""Entries of a usage ledger, and a store that is closed when a test is done with it."""

import asyncio
from collections.abc import Awaitable, Callable

from cortex.contract.usage import UsageEntry
from cortex.gateway.store.database import Database
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock


def an_entry(number: int, started_epoch_s: float, **keys: object) -> UsageEntry:
    base: dict[str, object] = {
        "id": f"s-{number:010x}",
        "request_id": f"req-{number}",
        "started_epoch_s": started_epoch_s,
        "key": "alice",
        "model": "org/m",
        "node": "beast",
        "operation": "chat",
        "status": 200,
        "outcome": "ok",
        "stream": True,
        "cold_start": False,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "first_token_s": 0.25,
        "duration_s": 1.5,
        "error": None,
    }
    return UsageEntry(**(base | keys))  # type: ignore[arg-type]


def with_database(url: str, check: Callable[[Database], Awaitable[None]], deadline_s: float = 30.0) -> None:
    """Run ``check`` with a store of its own."""

    async def run() -> None:
        database = Database(parse_store_url(url), SystemClock(), deadline_s=deadline_s)
        try:
            await check(database)
        finally:
            await database.close()

    asyncio.run(run())
