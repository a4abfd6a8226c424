"""Makes room for one load: its victims are drained together, unloaded, and their memory is seen to be free.

It decides nothing: who goes was decided with the reservation, and whether they do is decided by their departure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cortex.contract.error import CortexError
from cortex.contract.instance import InstanceError
from cortex.neuron.departure import Departure

Outcome = asyncio.Future[CortexError | None]
"""How a request to unload ended: None when the instance is gone, else why it stays."""


class Clearing:
    """The room of one load in the making. ``recheck`` looks again, once all are gone, whether it is there."""

    def __init__(
        self,
        departure: Departure,
        outcomes: Mapping[str, Outcome],
        recheck: Callable[[], Awaitable[InstanceError | None]],
    ) -> None:
        self._departure = departure
        self._outcomes = outcomes
        self._recheck = recheck
        self._goes: bool | None = None

    async def drain(self) -> bool:
        """Wait until it is decided whether the victims go."""
        if self._goes is None:
            self._goes = await self._departure.run()
        return self._goes

    async def run(self) -> InstanceError | None:
        """Wait until the room is there, or return why it never will be. Called off, those stay who still can."""
        if not await self.drain():
            return InstanceError(
                code="busy", message=f"{' and '.join(self._outcomes)} had to stay: requests are running"
            )
        for key, outcome in self._outcomes.items():
            refusal = await asyncio.shield(outcome)
            if refusal is not None:
                return InstanceError(code="busy", message=f"{key} was to make room, and stays: {refusal.message}")
        return await self._recheck()
