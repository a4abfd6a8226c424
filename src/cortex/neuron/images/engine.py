"""One loaded model of a ComfyUI as an engine: the images server's process, and the memory of the ComfyUI behind it.

An unload is over when that memory was seen free. ComfyUI frees that of all models at once, between two workflows, so
it may take as long as the one of another model that runs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from cortex.contract.error import UpstreamError
from cortex.neuron.harness.interface import Activity, EngineExit
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.process_engine import ProcessEngine
from cortex.neuron.state_dir import Handle
from cortex.residency.backoff import Backoff

log = logging.getLogger(__name__)

FREE_WAIT_S = 12.0
"""How long ComfyUI may take to free its memory while no workflow runs."""
BUSY_WAIT_S = 120.0
"""And in all: it does so between two workflows, and another model's may run."""
LEFT_BYTES = 256 << 20
"""PyTorch keeps a little when all models are gone."""
POLL = Backoff(first_s=0.02, limit_s=0.5, factor=1.3)


class ComfyEngine:
    """One images server. ``client_id``: under which it gives workflows to ComfyUI; ``pid``: tells ComfyUI's process."""

    def __init__(self, process: ProcessEngine, comfy: Comfy, client_id: str, pid: Callable[[], int]) -> None:
        self._process = process
        self._comfy = comfy
        self._client_id = client_id
        self._pid = pid

    @property
    def handle(self) -> Handle:
        return msgspec.structs.replace(self._process.handle, memory_pid=self._pid())

    async def ready(self) -> None:
        await self._process.ready()

    async def exited(self) -> EngineExit:
        return await self._process.exited()

    async def activity(self) -> Activity | None:
        return await self._process.activity()

    async def stop(self, grace_s: float) -> bool:
        if not await self._process.stop(grace_s):
            return False
        with contextlib.suppress(UpstreamError):  # a ComfyUI that is gone has no memory either
            try:
                async with asyncio.timeout(FREE_WAIT_S) as limit:
                    await self._free(limit)
            except TimeoutError:
                log.warning("%s: ComfyUI has not given its memory back", self._process.handle.engine_model)
        return True

    def let_go(self) -> None:
        self._process.let_go()

    async def _free(self, limit: asyncio.Timeout) -> None:
        """Have all memory freed, and return once it is. What the process left running, if it was killed, goes first."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + BUSY_WAIT_S
        await self._comfy.call_off(self._client_id)
        await self._comfy.free()
        polls = 0
        while (await self._comfy.stats()).memory.held_bytes > LEFT_BYTES:
            if await self._comfy.is_running():
                limit.reschedule(min(loop.time() + FREE_WAIT_S, end_s))
            await asyncio.sleep(POLL.delay_s(polls))
            polls += 1
