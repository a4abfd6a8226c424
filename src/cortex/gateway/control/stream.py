"""Listens to the event stream of one neuron for as long as it runs; every change becomes an event.

A stream that breaks, ends or falls silent is opened again, from the last message on, soon and then ever less often. A
neuron that has none is asked again now and then: the polls tell the same, later.
"""

import asyncio
import logging
from contextlib import aclosing
from random import Random

from cortex.contract.error import CortexError
from cortex.fleet.event import NodeChanged
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.gateway.control.report import Post
from cortex.kit.clock import Clock

FIRST_RETRY_S = 0.25
LASTING_S = 10.0
"""A stream that lived for so long was well: the next one is opened soon."""
REFUSED_S = 60.0
JITTER = 0.1

log = logging.getLogger(__name__)


class Stream:
    """One node's."""

    def __init__(
        self,
        node: str,
        client: NeuronClient,
        post: Post,
        clock: Clock,
        rng: Random,
        *,
        longest_wait_s: float = 10.0,
        first_wait_s: float = 0.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.node = node
        self._client = client
        self._post = post
        self._clock = clock
        self._rng = rng
        self._longest_wait_s = longest_wait_s
        self._first_wait_s = first_wait_s
        self._sleep = sleep
        self._last_id: str | None = None
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled. The streams of many nodes are opened one after the other."""
        if self._first_wait_s:
            await self._sleep(self._first_wait_s)
        while True:
            await self._sleep(await self.listen())

    async def listen(self) -> float:
        """Listen until the stream is over; return the seconds until it is to be opened again."""
        opened_s = self._clock.now_s()
        wait_s: float | None = None
        try:
            async with aclosing(self._client.events(self._last_id)) as messages:
                async for message in messages:
                    self._last_id = message.id
                    self._post(NodeChanged(self.node, message.change, message.is_snapshot))
        except NeuronRefused as exc:
            log.debug("%s has no event stream: %s", self.node, exc.message)
            wait_s = REFUSED_S if exc.status != 503 else None
        except CortexError as exc:
            log.debug("the event stream of %s: %s", self.node, exc.message)
        except Exception:  # a defect of ours must not end the watch over a node
            log.exception("the event stream of %s", self.node)
        if self._clock.now_s() - opened_s >= LASTING_S:
            self._failures = 0
        return (wait_s or self._retry_s()) * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _retry_s(self) -> float:
        self._failures += 1
        return min(self._longest_wait_s, FIRST_RETRY_S * float(2 ** min(self._failures - 1, 16)))
