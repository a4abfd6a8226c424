"""Carries reports to neurons, and asks them what their hosts are made of; each ends in exactly one event.

A neuron that does not know of leases is asked for its health and its models instead, until it is another process. What
was missed, and what follows from that, is not decided here.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any

from cortex import __version__
from cortex.contract.error import CortexError, UpstreamUnreachable
from cortex.contract.lease import DOUBLE_GATEWAY
from cortex.contract.node import Discovery
from cortex.contract.version import skew_trouble
from cortex.fleet.desk import name_apart
from cortex.fleet.effect import AskDiscovery, PostLeases
from cortex.fleet.event import Event, LeasesAnswered, LeasesRefused, NodeDiscovered, NodeMissed, NodeSampled
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

Post = Callable[[Event], None]

UNKNOWN_PATH = (404, 405, 501)
MAX_CALLS = 200
"""Under way at a time: a thousand nodes that are asked at once would all be late."""
LEAVE_S = 2.0
"""A neuron that does not take a goodbye within this time learns of it when the leases end."""

log = logging.getLogger(__name__)


class Reporter:
    """Speaks to every neuron; ``clients`` by node name."""

    def __init__(self, clients: Mapping[str, NeuronClient], clock: Clock, tasks: TaskOwner) -> None:
        self._clients = clients
        self._clock = clock
        self._tasks = tasks
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._reporting: dict[str, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._without_leases: dict[str, str] = {}
        """Nodes whose neuron does not know of leases, with its ``start_id``."""
        self._discovered: set[str] = set()
        self._versions: dict[str, str] = {}
        """The neurons', as last heard."""
        self._has_double = False

    def carry_out(self, effect: PostLeases | AskDiscovery, post: Post) -> None:
        """Start the work; its outcome is posted later, never before this returns."""
        if isinstance(effect, PostLeases):
            self._reporting[effect.node] = self._start(self._report(effect, post), f"report to {effect.node}")
        else:
            task = self._start(self._discover(effect.node, post), f"discovery of {effect.node}")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def settled(self, node: str) -> None:
        """Return when the report to a node that is under way has had its outcome, at once when there is none."""
        task = self._reporting.get(node)
        if task is not None:
            await asyncio.wait((task,))

    async def leave(self, goodbyes: Iterable[PostLeases], limit_s: float = LEAVE_S) -> None:
        """Give up what is under way and send the last reports; who does not answer in time is left as it is."""
        await self.stop()
        parting = [
            self._start(self._part(one), f"goodbye to {one.node}")
            for one in goodbyes
            if one.node not in self._without_leases
        ]
        if parting:
            _, slow = await asyncio.wait(parting, timeout=limit_s)
            await _end(slow)

    async def stop(self) -> None:
        """Give up whatever is under way, without events."""
        await _end((*self._reporting.values(), *self._asking))

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._tasks.start(work, name)

    async def _report(self, effect: PostLeases, post: Post) -> None:
        node = effect.node
        try:
            async with self._calls:
                outcome = await self._outcome(effect)
        except NeuronRefused as exc:
            known_seq = exc.details.get("seq") if exc.neuron_code == "stale" else None
            seq = known_seq if isinstance(known_seq, int) else None
            if exc.neuron_code == DOUBLE_GATEWAY:
                self._step_aside(effect)
            outcome = LeasesRefused(node=node, code=exc.neuron_code, message=exc.message, known_seq=seq)
        except CortexError as exc:
            self._without_leases.pop(node, None)
            outcome = NodeMissed(node, exc.message, is_certain=isinstance(exc, UpstreamUnreachable))
        except Exception as exc:  # a defect of ours: the desk must not wait for an answer that never comes
            log.exception("reporting to %s", node)
            outcome = NodeMissed(node, f"internal error: {exc!r}")
        post(outcome)

    def _step_aside(self, effect: PostLeases) -> None:
        """Ask for places by the name that the desk goes by from now on, and tell the operator, once."""
        ours = effect.post.gateway_id
        self._clients[effect.node].gateway_id = name_apart(ours, effect.post.process)
        if not self._has_double:
            self._has_double = True
            log.error(
                "%s: another gateway goes by the gateway_id '%s', too; this one goes by another name until each has "
                "a gateway_id of its own in [gateway]", effect.node, ours,
            )  # fmt: skip

    async def _outcome(self, effect: PostLeases) -> Event:
        """Report, and where the neuron knows of no leases ask how things are."""
        node = effect.node
        if node not in self._without_leases:
            sent_s = self._clock.now_s()
            try:
                answer = await self._clients[node].leases(effect.post)
            except NeuronRefused as exc:
                if exc.status not in UNKNOWN_PATH:
                    raise
            else:
                return LeasesAnswered(node=node, post=effect.post, answer=answer, sent_s=sent_s)
        return await self._sample(node)

    async def _sample(self, node: str) -> NodeSampled:
        client = self._clients[node]
        health, asked_s = await client.health(), self._clock.now_s()
        answer = await client.models()
        if self._without_leases.setdefault(node, answer.start_id) != answer.start_id:
            del self._without_leases[node]  # another process, which may know of them
        return NodeSampled(
            node=node,
            health=health,
            models=answer.models,
            asked_s=asked_s,
            start_id=answer.start_id,
            event=answer.event,
        )

    async def _discover(self, node: str, post: Post) -> None:
        outcome: Event
        try:
            async with self._calls:
                discovery = await self._clients[node].discovery()
            outcome = NodeDiscovered(node, discovery)
            self._hear_version(node, discovery.neuron_version)
            if node not in self._discovered:
                self._discovered.add(node)
                log.info("%s: %s", node, _describe(discovery))
        except CortexError as exc:
            is_certain = isinstance(exc, UpstreamUnreachable)
            outcome = NodeMissed(node, exc.message, is_certain=is_certain, is_discovery=True)
        except Exception as exc:  # as above
            log.exception("asking what %s is made of", node)
            outcome = NodeMissed(node, f"internal error: {exc!r}", is_discovery=True)
        post(outcome)

    def _hear_version(self, node: str, version: str) -> None:
        """Log, once, that a neuron's version is too far from this gateway's."""
        if self._versions.get(node) == version:
            return
        self._versions[node] = version
        trouble = skew_trouble(version, __version__, "the neuron")
        if trouble:
            log.warning("%s: %s", node, trouble)

    async def _part(self, goodbye: PostLeases) -> None:
        with suppress(CortexError):
            await self._clients[goodbye.node].leases(goodbye.post)


def _describe(discovery: Discovery) -> str:
    devices = ", ".join(f"{device.name} ({device.vram_total_mb} MiB)" for device in discovery.devices) or "no device"
    return f"{discovery.hostname}, {devices}; harnesses: {', '.join(discovery.harnesses) or 'none'}"


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
