"""Asks one neuron, again and again, what there is and how it is, and turns the answers into events.

``/discovery`` at start, every ``discovery_s`` and after a restart of the neuron; ``/health`` and ``/models`` every
``poll_s``. A refused connection means lost at once, anything else that goes wrong only after ``MISSES`` in a row: busy
is not dead. "starting" is a missed poll, not an empty node. Whoever is not answering is asked again soon, ever less
often, so that it does not matter who of a fleet starts first.
"""

import asyncio
import logging
from random import Random

import msgspec

from cortex.contract.error import CortexError, UpstreamUnreachable
from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery
from cortex.fleet.event import NodeDiscovered, NodeLost, NodeSampled
from cortex.gateway.control.executor import Post, Sleep
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.kit.clock import Clock

MISSES = 3
JITTER = 0.1
"""Polls of many gateways and nodes drift apart by a tenth of the interval."""

log = logging.getLogger(__name__)


class PollTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals in seconds."""

    poll_s: float = 10.0
    discovery_s: float = 60.0
    first_retry_s: float = 0.25


class Poller:
    """Watches the neuron of one node for as long as :meth:`run` runs."""

    def __init__(
        self,
        node: str,
        client: NeuronClient,
        post: Post,
        clock: Clock,
        rng: Random,
        *,
        timing: PollTiming | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._node = node
        self._client = client
        self._post = post
        self._clock = clock
        self._rng = rng
        self._timing = timing or PollTiming()
        self._sleep = sleep
        self._is_healthy = False
        self._why = ""
        self._misses = 0
        self._retries = 0
        self._start_id = ""
        self._discovered_s: float | None = None
        self._models: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._sleep(await self.poll())

    async def poll(self) -> float:
        """Ask once, post what came of it, and return the seconds until the next time."""
        try:
            await self._ask()
        except CortexError as exc:
            self._missed(exc.message, is_certain=isinstance(exc, UpstreamUnreachable))
            return self._retry_s()
        except Exception as exc:  # a defect of ours must not end the watch over a node
            log.exception("polling %s", self._node)
            self._missed(f"internal error: {exc!r}", is_certain=False)
            return self._retry_s()
        return self._timing.poll_s * self._rng.uniform(1 - JITTER, 1 + JITTER)

    async def _ask(self) -> None:
        if self._is_discovery_due():
            await self._discover()
        health = await self._client.health()
        asked_s = self._clock.now_s()
        answer = await self._client.models()
        if answer.start_id and self._start_id and answer.start_id != self._start_id:
            await self._discover()
        self._answered(answer.models)
        self._post(
            NodeSampled(
                node=self._node,
                health=health,
                models=answer.models,
                asked_s=asked_s,
                start_id=answer.start_id,
                event=answer.event,
            )
        )

    def _is_discovery_due(self) -> bool:
        return self._discovered_s is None or self._clock.now_s() - self._discovered_s >= self._timing.discovery_s

    async def _discover(self) -> None:
        discovery = await self._client.discovery()
        is_first = self._discovered_s is None
        self._discovered_s = self._clock.now_s()
        self._start_id = discovery.start_id
        if is_first:
            log.info("%s: %s", self._node, _describe(discovery))
        self._post(NodeDiscovered(self._node, discovery))

    def _answered(self, models: tuple[InstanceReport, ...]) -> None:
        if not self._is_healthy:
            log.info("%s is healthy", self._node)
        self._is_healthy, self._misses, self._retries, self._why = True, 0, 0, ""
        now = frozenset(report.id for report in models)
        if now != self._models:
            _log_change(self._node, appeared=now - self._models, gone=self._models - now)
            self._models = now

    def _missed(self, why: str, *, is_certain: bool) -> None:
        """Count a poll that brought nothing. A node that is not healthy anyway has nothing to lose by the first."""
        self._misses += 1
        if self._is_healthy and not is_certain and self._misses < MISSES:
            return
        if self._is_healthy or not self._why:
            log.warning("%s is not healthy: %s", self._node, why)
        if self._is_healthy or why != self._why:
            self._is_healthy, self._why = False, why
            self._post(NodeLost(self._node, why))

    def _retry_s(self) -> float:
        """Return the wait after a miss: a node that is still taken for healthy gets time to recover between misses."""
        if self._is_healthy:
            wait_s = self._timing.poll_s / 4
        else:
            wait_s = min(self._timing.poll_s, self._timing.first_retry_s * float(2 ** min(self._retries, 16)))
            self._retries += 1
        return wait_s * self._rng.uniform(1 - JITTER, 1 + JITTER)


def _describe(discovery: Discovery) -> str:
    devices = ", ".join(f"{device.name} ({device.vram_total_mb} MiB)" for device in discovery.devices) or "no device"
    return f"{discovery.hostname}, {devices}; harnesses: {', '.join(discovery.harnesses) or 'none'}"


def _log_change(node: str, *, appeared: frozenset[str], gone: frozenset[str]) -> None:
    if appeared:
        log.info("%s: models appeared: %s", node, ", ".join(sorted(appeared)))
    if gone:
        log.info("%s: models gone: %s", node, ", ".join(sorted(gone)))
