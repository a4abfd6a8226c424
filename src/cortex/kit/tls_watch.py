"""Looks at certificates every few seconds and has those read anew whose files have changed and stand still again."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from cortex.kit.tls import Tls

LOOK_S = 5.0


async def watch_tls(watched: Collection[Tls], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Watch until cancelled."""
    while True:
        await sleep(LOOK_S)
        for tls in watched:
            if await asyncio.to_thread(tls.has_settled_anew):
                tls.renew_or_tell()
