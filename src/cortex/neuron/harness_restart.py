"""Restarts the engines of one harness: everything of it drained and unloaded, its server restarted, its count at zero.

A restart names the count of cycles that it acts on, so that several gateways cause one; those that ask while it is
under way join it. It cuts nothing unless it is forced: what stays busy ends it with ``busy``. Models are not loaded
again: the next request for one does that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cortex.contract.error import CortexError, ShuttingDown
from cortex.contract.node import RestartAnswer, RestartRequest
from cortex.kit.task import TaskOwner
from cortex.neuron.cycle import CycleBook
from cortex.neuron.harness.interface import Harness, Restartable
from cortex.neuron.refusal import Busy, NotManaged, Stale, UnknownHarness
from cortex.residency.eviction import ASK_AGAIN_S


class HarnessRestart:
    """The restarts of this node. ``clear`` unloads all that a harness has; ``changed`` is called when one is over."""

    def __init__(
        self,
        harnesses: Mapping[str, Harness],
        cycles: CycleBook,
        clear: Callable[[Harness, bool], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._harnesses = harnesses
        self._cycles = cycles
        self._clear = clear
        self._changed = changed
        self._tasks = TaskOwner()
        self._running: dict[str, asyncio.Task[CortexError | None]] = {}

    async def restart(self, name: str, request: RestartRequest) -> RestartAnswer:
        """Restart, or join the restart under way. Raises: UnknownHarness, NotManaged, Stale, Busy, UpstreamError."""
        harness = self._find(name)
        running = self._running.get(name)
        if running is None:
            now = self._cycles.of(name).cycles
            if request.cycles is not None and request.cycles != now:
                raise Stale(f"harness '{name}' has {now} cycles by now, not {request.cycles}: look again", cycles=now)
            running = self._running[name] = self._tasks.start(self._run(harness, request.force), f"restart of {name}")
        refusal = await asyncio.shield(running)
        if refusal is not None:
            raise refusal
        return RestartAnswer(status="restarted", cycles=self._cycles.of(name).cycles)

    def check_not_under_way(self, name: str) -> None:
        """Raise Busy while a harness is being restarted: nothing is loaded into it then."""
        if self.is_under_way(name):
            words = f"harness '{name}' is being restarted: ask again when that is over"
            raise Busy(words, harness=name, retry_in_s=ASK_AGAIN_S)

    def is_under_way(self, name: str) -> bool:
        """Tell whether a harness is being restarted."""
        return name in self._running

    async def stop(self) -> None:
        """Leave what is under way."""
        await self._tasks.stop()

    def _find(self, name: str) -> Harness:
        harness = self._harnesses.get(name)
        if harness is None:
            known = ", ".join(self._harnesses) or "none is configured"
            raise UnknownHarness(f"no harness '{name}' on this node; there are: {known}", harness=name)
        if harness.capabilities.process_model == "foreign":
            raise NotManaged(f"harness '{name}' stands for a server that runs by itself: restart it where it runs")
        if not harness.capabilities.can_restart:
            raise NotManaged(f"harness '{name}' has no `systemd_unit`: restart its server where it runs")
        return harness

    async def _run(self, harness: Harness, force: bool) -> CortexError | None:
        try:
            await self._clear(harness, force)
            if isinstance(harness, Restartable):
                await harness.restart()
        except CortexError as error:
            return error
        except asyncio.CancelledError:  # by ``stop``, which waits for this; the callers are to hear it in words
            return ShuttingDown("the neuron is stopping")
        else:
            self._cycles.reset(harness.name)
            return None
        finally:
            del self._running[harness.name]
            self._changed()
