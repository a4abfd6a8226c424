"""A server that systemd runs: started when it is wanted and down, restarted, and waited for until it answers.

Whether it answers is the harness's question. When it ends instead, its journal says why.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cortex.contract.error import UpstreamBroken
from cortex.contract.instance import InstanceError
from cortex.neuron.process.last_words import last_words
from cortex.neuron.process.systemd import SystemdUnit, missing_file
from cortex.neuron.refusal import SystemdRefused
from cortex.residency.backoff import Backoff

UP_POLL = Backoff(first_s=0.05, limit_s=2.0, factor=1.5)
OVER = ("failed", "inactive")
"""States of a unit whose program does not run and is not about to."""


class ServerUnit:
    """One server. ``is_up`` tells whether it answers at ``url``; it may take ``limit_s`` to do so after a start.

    ``remedy`` is told to who has no such unit.
    """

    def __init__(
        self,
        unit: SystemdUnit,
        url: str,
        is_up: Callable[[], Awaitable[bool]],
        limit_s: float,
        *,
        remedy: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.unit = unit
        self._url = url
        self._is_up = is_up
        self._limit_s = limit_s
        self._remedy = remedy
        self._sleep = sleep

    async def why_it_cannot_start(self) -> str | None:
        """Return why systemd could not start it; None when it could."""
        state = await self.unit.state()
        if state is None:
            return f"systemctl cannot be asked for {self.unit.name}, and nothing answers at {self._url}"
        if state.load != "loaded":
            return f"systemd says '{state.load}' of {self.unit.name}{self._remedy}"
        file = await missing_file(state)
        return None if file is None else f"{self.unit.name} cannot be started: {file} is not there"

    async def bring_up(self) -> InstanceError | None:
        """Start it unless it answers; return why it does not come up."""
        if await self._is_up():
            return None
        try:
            await self.unit.start()
        except SystemdRefused as refusal:
            return InstanceError(code=refusal.code, message=refusal.message)
        return await self._until_up()

    async def restart(self) -> None:
        """Restart it, and return once it answers. Raises: SystemdRefused, UpstreamBroken."""
        await self.unit.restart()
        failure = await self._until_up()
        if failure is not None:
            raise UpstreamBroken(failure.message)

    async def _until_up(self) -> InstanceError | None:
        polls = 0
        try:
            async with asyncio.timeout(self._limit_s):
                while not await self._is_up():
                    state = await self.unit.state()
                    if state is not None and state.active in OVER:
                        return await self._failure(f"{self.unit.name} has ended ({state.result or state.active})")
                    await self._sleep(UP_POLL.delay_s(polls))
                    polls += 1
        except TimeoutError:
            return await self._failure(f"{self.unit.name} does not answer at {self._url}")
        return None

    async def _failure(self, words: str) -> InstanceError:
        lines = await self.unit.journal()
        why = last_words(lines)
        return InstanceError(
            code="out_of_memory" if why.is_out_of_memory else "server_failed",
            message=f"{words}: {why.cause}" if why.cause else words,
            log_tail=lines,
        )
