"""Passes on the logs of engines, which the neurons keep: implements ``ports.EngineLogs``.

Nothing is kept: lines that come faster than they are taken wait in the neuron's file, for nobody reads its connection
meanwhile. A node that stops answering while its log is followed is noticed by its health, for an engine may well have
nothing to say.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from cortex.contract import error
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.resolve import describe_unknown_node
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.kit.task import TaskOwner

MAX_READERS = 64
LOOK_S = 5.0
"""A node that has nothing to say is looked at so often."""
MAX_LINE_CHARS = 4000


class EngineLogDesk:
    """Asks the neurons on behalf of operators. ``resolve``: the id of a name; raises ModelNotFound."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        clients: Mapping[str, NeuronClient],
        resolve: Callable[[str], str],
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._dispatcher = dispatcher
        self._clients = clients
        self._resolve = resolve
        self._look_s = look_s
        self._tasks = TaskOwner()
        """Each of its tasks is awaited by the reader that it belongs to."""
        self._closing = asyncio.Event()
        self.readers = 0
        """How many follow a log now."""

    def close(self) -> None:
        """End every log that is followed."""
        self._closing.set()

    async def tail(self, model: str, node: str, lines: int) -> tuple[str, ...]:
        """See ``ports.EngineLogs``."""
        model, client = self._resolve(model), self._client(node)
        try:
            return tuple(line[:MAX_LINE_CHARS] for line in await client.log_tail(model, lines))
        except error.CortexError as exc:
            raise _explained(exc, node) from exc

    def follow(self, model: str, node: str, lines: int) -> AsyncGenerator[tuple[str, ...]]:
        """See ``ports.EngineLogs``. What is asked for is checked at once."""
        model, client = self._resolve(model), self._client(node)
        if self.readers >= MAX_READERS:
            raise error.CapacityError(f"{self.readers} readers follow logs through this gateway: close one first.")
        return self._follow(client.log_follow(model, lines), node)

    async def _follow(self, log: AsyncGenerator[list[bytes]], node: str) -> AsyncGenerator[tuple[str, ...]]:
        """Yield what has come, at the latest ``look_s`` after the last time, be it nothing."""
        self.readers += 1
        reading = self._tasks.start(_next(log), f"log of {node}")
        closing = self._tasks.start(self._closing.wait(), "end of logs")
        try:
            while not self._closing.is_set():
                await asyncio.wait({reading, closing}, timeout=self._look_s, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    self._check(node)
                    yield ()
                    continue
                lines = reading.result()
                if lines is None:
                    return
                if isinstance(lines, error.CortexError):
                    raise lines
                yield tuple(map(_shown, lines))
                reading = self._tasks.start(_next(log), f"log of {node}")
        except error.CortexError as exc:
            raise _explained(exc, node) from exc
        finally:
            self.readers -= 1
            for task in (reading, closing):
                task.cancel()
            await asyncio.wait({reading, closing})
            await log.aclose()

    def _check(self, node: str) -> None:
        live = self._dispatcher.desk(node).live
        if not live.is_healthy:
            raise error.UpstreamUnreachable(f"{node} does not answer any more: {live.why}")

    def _client(self, node: str) -> NeuronClient:
        client = self._clients.get(node)
        if client is None:
            raise error.NodeNotFound(describe_unknown_node(node, self._clients), node=node)
        return client


async def _next(log: AsyncGenerator[list[bytes]]) -> list[bytes] | error.CortexError | None:
    """Return the next lines, or why there are none; None: it is over."""
    try:
        return await anext(log, None)
    except error.CortexError as exc:
        return exc


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace")[:MAX_LINE_CHARS]


def _explained(exc: error.CortexError, node: str) -> error.CortexError:
    """Return what is told of a neuron's refusal or of its silence."""
    if isinstance(exc, NeuronRefused):
        return error.NodeRefused(f"{node} refused: {exc.message}", node=node, cause=exc.neuron_code)
    exc.details.setdefault("node", node)
    return exc
