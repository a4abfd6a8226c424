"""Watches one node: has it reported to again and again, and writes down what comes of it.

A poll is a report to the neuron, which answers with what has changed. When the next one is due the desk of the node
says: in ``poll_s``, sooner after a miss. Whoever is not answering is asked again soon, ever less often, so that it does
not matter who of a fleet starts first.
"""

import asyncio
import logging
from random import Random

from cortex.fleet.desk import Desk
from cortex.fleet.event import PollDue
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.report import Post, Reporter

JITTER = 0.1
"""Polls of many gateways and nodes drift apart by a tenth of the interval."""

log = logging.getLogger(__name__)


class Poller:
    """Watches for as long as :meth:`run` runs. The desk is read only: the dispatcher writes it."""

    def __init__(
        self,
        desk: Desk,
        reporter: Reporter,
        post: Post,
        rng: Random,
        *,
        poll_s: float = 10.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.node = desk.node
        self._desk = desk
        self._reporter = reporter
        self._post = post
        self._rng = rng
        self._poll_s = poll_s
        self._sleep = sleep
        self._was_healthy: bool | None = None
        self._version = ("", 0)
        self._models: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._sleep(await self.poll())

    async def poll(self) -> float:
        """Have the node reported to once, and return the seconds until the next time."""
        try:
            self._post(PollDue(self.node))
            await self._reporter.settled(self.node)
            if not (self._desk.live.is_healthy or self._desk.live.why):  # its report is made anew, with another number
                await self._reporter.settled(self.node)
            self._write_down()
        except Exception:  # a defect of ours must not end the watch over a node
            log.exception("polling %s", self.node)
        return self._desk.live.pause_s(self._poll_s) * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _write_down(self) -> None:
        """Log what is otherwise than after the last poll."""
        desk = self._desk
        if desk.live.is_healthy is not self._was_healthy:
            self._was_healthy = desk.live.is_healthy
            if desk.live.is_healthy:
                log.info("%s is healthy", self.node)
            else:
                log.warning("%s is not healthy: %s", self.node, desk.live.why)
        if (desk.start_id, desk.event) == self._version and desk.event:
            return
        self._version = (desk.start_id, desk.event)
        now = frozenset(desk.listing.reports)
        if now != self._models:
            _log_change(self.node, appeared=now - self._models, gone=self._models - now)
            self._models = now


def _log_change(node: str, *, appeared: frozenset[str], gone: frozenset[str]) -> None:
    if appeared:
        log.info("%s: models appeared: %s", node, ", ".join(sorted(appeared)))
    if gone:
        log.info("%s: models gone: %s", node, ", ".join(sorted(gone)))
