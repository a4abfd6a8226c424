"""Tells decisions and changes of the fleet to whoever listens (``GET /admin/v1/events``), numbered and resumable.

Decisions come as they are made. Nodes and instances are looked at every ``look_s``, and only while somebody listens, so
that the hot path has nothing to do for it. The last messages are kept, and each reader goes through them at its own
pace; nothing is kept per reader: who resumes too late, or reads too slowly, is told of the gap and given a snapshot.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from cortex.contract.admin import DeviceEntry, EventGap, FleetChange, InstanceEntry, NodeEntry
from cortex.contract.error import CapacityError
from cortex.fleet.decision import Decision
from cortex.fleet.view import NodeView, ReplicaView
from cortex.gateway.admin.decision_page import decision_entry
from cortex.gateway.admin.entry import instances_on, node_entry, replicas_by_node
from cortex.gateway.ports import FleetAdmin
from cortex.kit.clock import Clock
from cortex.kit.event_stream import HEARTBEAT, HEARTBEAT_S, Bell, Since, message
from cortex.kit.task import TaskOwner

KEPT = 1000
LOOK_S = 1.0
MAX_READERS = 200
NEVER = -1
"""The place of a reader that has seen nothing."""
AT_ONCE = 50
"""So many messages are put into words for a reader before it has to take them."""

Ready = frozenset[tuple[str, bool]]
"""Models of which this gateway has a replica on a node, and whether requests are sent there."""


class _Seen(NamedTuple):
    """One node at the last look: of what it was made, and what was told of it."""

    view: NodeView
    ready: Ready
    node: NodeEntry
    instances: dict[str, InstanceEntry]


class FleetFeed:
    """The events of one gateway process. ``start_id`` tells them from those of another one."""

    def __init__(
        self,
        fleet: FleetAdmin,
        clock: Clock,
        tasks: TaskOwner,
        *,
        start_id: str,
        kept: int = KEPT,
        look_s: float = LOOK_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._tasks = tasks
        self._start_id = start_id
        self._look_s = look_s
        self._sleep = sleep
        self._kept: deque[tuple[str, msgspec.Struct]] = deque(maxlen=kept)
        self._newest = 0
        self._bell = Bell()
        self._seen: dict[str, _Seen] = {}
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False
        self.readers = 0
        """How many listen now."""
        fleet.log.watch(self._note)

    def close(self) -> None:
        """End every stream."""
        self._is_closed = True
        self._stop_looking()
        self._bell.ring()

    def stream(self, since: Since | None, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
        """Return what a reader has not seen, at once, and what comes. Raises: CapacityError for one reader too many."""
        if self.readers >= MAX_READERS:
            raise CapacityError(f"{self.readers} readers listen to these events already: close one, or ask again.")
        return self._stream(since, heartbeat_s)

    async def _stream(self, since: Since | None, heartbeat_s: float) -> AsyncIterator[bytes]:
        self.readers += 1
        try:
            self._begin_to_look()
            place = since if since is not None and since.start_id else self._at(since.event if since else NEVER)
            while not self._is_closed:
                place, pieces = self._unseen(place)
                for piece in pieces:
                    yield piece
                if not pieces and not await self._bell.wait(heartbeat_s):
                    yield HEARTBEAT
        finally:
            self.readers -= 1
            if not self.readers:
                self._stop_looking()

    def _unseen(self, place: Since) -> tuple[Since, list[bytes]]:
        """Return the next messages for a reader, and its place behind them."""
        if not self._has_all_after(place):
            gap = [] if place.event == NEVER else [message("gap", EventGap(since=str(place)))]
            place = self._at(self._newest)
            return place, [*gap, message("snapshot", self._whole(), place)]
        start = len(self._kept) - (self._newest - place.event)
        pieces = []
        for kind, body in islice(self._kept, start, start + AT_ONCE):
            place = self._at(place.event + 1)
            pieces.append(message(kind, body, place))
        return place, pieces

    def _has_all_after(self, place: Since) -> bool:
        is_ours = place.start_id == self._start_id
        return is_ours and self._newest - len(self._kept) <= place.event <= self._newest

    def _at(self, number: int) -> Since:
        return Since(self._start_id, number)

    def _note(self, decision: Decision) -> None:
        if decision.number:
            self._tell("decision", decision_entry(decision, self._clock))

    def _tell(self, kind: str, body: msgspec.Struct) -> None:
        self._kept.append((kind, body))
        self._newest += 1
        self._bell.ring()

    # the fleet

    def _begin_to_look(self) -> None:
        if self._looking is None or self._looking.done():
            self._look()
            self._looking = self._tasks.start(self._look_again(), "admin events")

    def _stop_looking(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    async def _look_again(self) -> None:
        while True:
            await self._sleep(self._look_s)
            self._look()

    def _look(self) -> None:
        """Tell what has changed since the last look, if anything has; before the first one nobody knew anything."""
        before, now = self._seen, self._now()
        change = FleetChange(
            nodes=tuple(
                seen.node for name, seen in now.items() if name not in before or before[name].node != seen.node
            ),
            instances=tuple(entry for name, seen in now.items() for entry in _new(seen, before.get(name))),
            gone=tuple((model, name) for name, seen in before.items() for model in _gone(seen, now.get(name))),
        )
        self._seen = now
        if before and (change.nodes or change.instances or change.gone):
            self._tell("change", change)

    def _whole(self) -> FleetChange:
        return FleetChange(
            nodes=tuple(seen.node for seen in self._seen.values()),
            instances=tuple(entry for seen in self._seen.values() for entry in seen.instances.values()),
        )

    def _now(self) -> dict[str, _Seen]:
        """Look at all nodes; one of which nothing was heard since the last look is not looked at again."""
        view = self._fleet.view()
        used = replicas_by_node(view)
        found = {}
        for node in view.nodes:
            replicas = used.get(node.name, {})
            ready = frozenset((model, replica.is_ready) for model, replica in replicas.items())
            seen = self._seen.get(node.name)
            if seen is None or seen.view is not node or seen.ready != ready:
                seen = _see(node, replicas, ready, view.now_s)
            found[node.name] = seen
        return found


def _see(node: NodeView, replicas: dict[str, ReplicaView], ready: Ready, now_s: float) -> _Seen:
    """Return one node without what changes all the time and is no change of state."""
    entries = (_steady_instance(entry) for entry in instances_on(node, replicas, now_s))
    instances = {entry.model: entry for entry in sorted(entries, key=lambda entry: entry.model)}
    return _Seen(node, ready, _steady_node(node_entry(node, 0)), instances)


def _new(seen: _Seen, before: _Seen | None) -> Iterator[InstanceEntry]:
    if seen is not before:
        known = before.instances if before is not None else {}
        yield from (entry for model, entry in seen.instances.items() if known.get(model) != entry)


def _gone(seen: _Seen, now: _Seen | None) -> Iterator[str]:
    if seen is not now:
        yield from (model for model in seen.instances if now is None or model not in now.instances)


def _steady_node(node: NodeEntry) -> NodeEntry:
    devices = tuple(_steady_device(device) for device in node.devices)
    return msgspec.structs.replace(node, in_flight=0, sample_age_s=None, devices=devices)


def _steady_device(device: DeviceEntry) -> DeviceEntry:
    return msgspec.structs.replace(
        device,
        vram_used_mb=None,
        vram_free_mb=None,
        strangers_mb=None,
        utilization_pct=None,
        temp_c=None,
        power_w=None,
    )


def _steady_instance(entry: InstanceEntry) -> InstanceEntry:
    return msgspec.structs.replace(entry, in_flight=0, slots=None, idle_s=None, protected_s=0.0, vram_used_mb=None)
