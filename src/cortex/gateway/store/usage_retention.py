"""Drops usage that is older than it is to be kept: one gateway at a time, a little at a time.

Age is by the database's clock. Whoever holds the claim ``prune:usage`` drops; the others look again later.
"""

import asyncio
import logging

from sqlalchemy import delete, select

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import Claim, Claims
from cortex.gateway.store.database import Database
from cortex.gateway.store.moment import database_now
from cortex.gateway.store.schema import USAGE
from cortex.kit.utc import DAY_S

NAME = "prune:usage"
CLAIM_S = 60.0
BATCH = 500
"""Rows at once: some ten milliseconds of a database."""
PAUSE_S = 0.2
EVERY_S = 600.0

log = logging.getLogger(__name__)


class UsageRetention:
    """Keeps ``days`` of usage."""

    def __init__(self, database: Database, claims: Claims, days: int, *, pause_s: float = PAUSE_S) -> None:
        self._database = database
        self._claims = claims
        self._pause_s = pause_s
        too_old = USAGE.c.started_s < database_now(database.dialect) - float(days * DAY_S)
        oldest = select(USAGE.c.id).where(too_old).order_by(USAGE.c.started_s).limit(BATCH)
        self._dropping = delete(USAGE).where(USAGE.c.id.in_(oldest))

    async def run(self) -> None:
        """Drop what is too old, now and then, for ever."""
        while True:
            try:
                dropped = await self.prune()
            except StoreUnavailable as error:
                log.debug("usage is not pruned for now: %s", error.message)
            else:
                if dropped:
                    log.info("%d requests were dropped from the usage ledger, being too old", dropped)
            await asyncio.sleep(EVERY_S)

    async def prune(self) -> int:
        """Drop all that is too old unless another gateway does; return how many. Raises: StoreUnavailable."""
        claim = await self._claims.claim(NAME, "", CLAIM_S)
        if not claim.is_mine:
            return 0
        dropped = await self._prune(claim)
        await self._claims.release(claim)
        return dropped

    async def _prune(self, claim: Claim) -> int:
        dropped = 0
        while True:
            count = await self._database.run(lambda connection: connection.execute(self._dropping).rowcount)
            dropped += count
            if count < BATCH or not await self._claims.renew(claim, CLAIM_S):
                return dropped
            await asyncio.sleep(self._pause_s)
