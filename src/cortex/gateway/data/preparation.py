"""A request that cannot be sent yet because something must be fetched first: a picture, an earlier response.

Fetches all of it side by side, no longer than until the client leaves or something cannot be had; then the request goes
on, or is refused in its dialect. How things are fetched is the fetcher's business.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cortex.contract.error import BuffersFull, CortexError
from cortex.contract.key import Key
from cortex.dialects.interface import Need, Translation
from cortex.gateway.data.framing import too_large

if TYPE_CHECKING:
    from cortex.gateway.data.body_room import BodyShare
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.data.plane import Plane

MAX_AT_ONCE = 3
"""Of one request, so that others are served beside it."""

MAX_ROUNDS = 3
"""What was fetched may show that more is needed: an earlier response may name pictures."""

log = logging.getLogger(__name__)

Refuse = Callable[[CortexError], None]


class Fetcher(Protocol):
    """Gets what requests need. Bounds its own time."""

    async def fetch(self, need: Need, key: Key | None) -> bytes | None:
        """Return the value of a need, as far as a key may see it. Raises: CortexError when it cannot be had."""


class Preparation:
    """One request whose needs are being fetched. Implements Handler."""

    __slots__ = (
        "_exchange",
        "_go_on",
        "_limit_bytes",
        "_refuse",
        "_room_bytes",
        "_share",
        "_task",
        "_translation",
        "_turn",
    )

    def __init__(
        self,
        plane: "Plane",
        exchange: "Exchange",
        translation: Translation,
        *,
        go_on: Callable[[], None],
        refuse: Refuse,
        share: "BodyShare | None" = None,
    ) -> None:
        """``share``: of the room for bodies, which what is fetched takes, too."""
        self._share = share
        self._exchange = exchange
        self._translation = translation
        self._limit_bytes = self._room_bytes = plane.limit.max_body_bytes
        """What is fetched counts like what is sent."""
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)
        self._go_on = go_on
        self._refuse = refuse
        self._task = plane.tasks.start(self._run(plane.fetcher), "fetch what a request needs")

    async def _run(self, fetcher: Fetcher) -> None:
        error = await self._fetch_all(fetcher)
        if error is None:
            self._go_on()
        else:
            self._refuse(error)

    async def _fetch_all(self, fetcher: Fetcher) -> CortexError | None:
        """Return why something cannot be had; the rest is not fetched any more then."""
        try:
            for _ in range(MAX_ROUNDS):
                async with asyncio.TaskGroup() as group:
                    for need in self._translation.needs:
                        group.create_task(self._fetch(fetcher, need))
        except ExceptionGroup as failed:
            error = failed.exceptions[0]
            if isinstance(error, CortexError):
                return error.with_traceback(None)  # its frames hold the request
            log.exception("fetching what a request needs")  # a defect of ours must not leave the client waiting
            return CortexError()
        return None

    async def _fetch(self, fetcher: Fetcher, need: Need) -> None:
        async with self._turn:
            if self._room_bytes < 0:
                return  # another one was too large already, and the request is being refused
            value = await fetcher.fetch(need, self._exchange.key)
            self._room_bytes -= len(value or b"")
            if self._room_bytes < 0:
                raise too_large(self._limit_bytes)
            if self._share is not None and not self._share.grow(len(value or b"")):
                raise BuffersFull
            self._translation.supply(need, value)

    def on_body(self, piece: bytes) -> None:
        """Nothing can come: the body is complete."""

    def on_end(self) -> None:
        """It was complete."""

    def on_gone(self) -> None:
        self._task.cancel()

    def on_pause(self) -> None:
        """Nothing is being written."""

    def on_resume(self) -> None:
        """Nothing is being written."""

    def on_shutdown(self) -> None:
        self._task.cancel()
        self._exchange.abort()
