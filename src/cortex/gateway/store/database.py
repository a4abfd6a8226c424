"""One database, asked with a deadline. Where it does not answer it is left alone for a moment, then one asks, not all.

The schema is brought up to date before the first piece of work. That the database is gone is told once, and once that
it is back; what becomes of the work is its caller's matter.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cortex.contract.error import StoreUnavailable
from cortex.gateway.store.engine import make_engine, outcome
from cortex.gateway.store.schema_version import migrate
from cortex.gateway.store_url import StoreUrl
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

T = TypeVar("T")

DEADLINE_S = 2.0
"""For one piece of work, the connection included."""
MIGRATION_S = 60.0
FIRST_REST_S, LONGEST_REST_S = 0.5, 2.0
"""How long a database that fails is not asked again: as long as keys that were revoked live on after it is back."""

log = logging.getLogger(__name__)


class Database:
    """The store of one gateway; belongs to one event loop."""

    def __init__(
        self,
        url: StoreUrl,
        clock: Clock,
        *,
        who: str = "cortex",
        deadline_s: float = DEADLINE_S,
        told_at: int = logging.WARNING,
    ) -> None:
        """``told_at``: the level at which the log says that the store is gone, or back."""
        self._told_at = told_at
        self._shown = url.shown
        self._now_s = clock.now_s
        self._deadline_s = deadline_s
        self._engine = make_engine(url, who=who, deadline_s=deadline_s)
        self.dialect = self._engine.dialect
        self._tasks = TaskOwner()
        self._doing: set[asyncio.Task[Any]] = set()
        self._is_migrated = False
        self._migrating = asyncio.Lock()
        self._trouble = ""
        self._rest_s = 0.0
        self._rests_until_s = 0.0
        self._is_tried = False
        """Somebody asks whether it is back: nobody else has to wait for that."""

    @property
    def is_up(self) -> bool:
        """Whether it answered when it was last asked, or was not asked yet."""
        return not self._trouble

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work``, which may run in another thread, in one transaction.

        Raises: StoreUnavailable, at once while the database is left alone.
        """
        if self._now_s() < self._rests_until_s or (self._is_tried and not self.is_up):
            raise StoreUnavailable(f"the store is not asked for a moment: {self._trouble}")
        self._is_tried = is_trial = not self.is_up
        try:
            await self._migrate()
            result = await self._try(work, self._deadline_s)
        except (SQLAlchemyError, OSError, TimeoutError) as exc:
            self._failed(exc)
            raise StoreUnavailable(f"the store cannot be asked: {self._trouble}") from exc
        finally:
            self._is_tried &= not is_trial
        self._answered()
        return result

    async def close(self) -> None:
        """Close every connection."""
        while self._doing:  # a driver that breaks off must not be kept from closing its connection
            await asyncio.wait(tuple(self._doing))
        await self._engine.close()

    async def _migrate(self) -> None:
        async with self._migrating:
            if not self._is_migrated:
                await self._try(migrate, MIGRATION_S)
                self._is_migrated = True

    async def _try(self, work: Callable[[Connection], T], deadline_s: float) -> T:
        """Do the work within the deadline: what is given up may take a driver longer, which nobody waits for."""
        doing = self._tasks.start(outcome(self._engine.run(work)), "store")
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        try:
            await asyncio.wait((doing,), timeout=deadline_s)
            if not doing.done():
                raise TimeoutError
        finally:
            doing.cancel()
        came = doing.result()
        if isinstance(came, Exception):
            raise came
        return came

    def _failed(self, exc: BaseException) -> None:
        was_up, self._trouble = self.is_up, _words(exc)
        self._is_migrated = False  # it may be another one, and empty, when it is back
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2 or FIRST_REST_S)
        self._rests_until_s = self._now_s() + self._rest_s
        if was_up:
            log.log(self._told_at, "the store at %s cannot be asked: %s", self._shown, self._trouble)

    def _answered(self) -> None:
        if not self.is_up:
            log.log(self._told_at, "the store at %s answers again", self._shown)
        self._trouble, self._rest_s, self._rests_until_s = "", 0.0, 0.0


def _words(exc: BaseException) -> str:
    """Return the driver's own words, on one line, without SQLAlchemy's."""
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    said = str(getattr(exc, "orig", None) or exc).strip()
    return said.splitlines()[0] if said else type(exc).__name__
