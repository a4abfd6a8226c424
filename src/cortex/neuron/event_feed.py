"""Tells every change of this node, numbered, to whoever listens (``GET /events``).

The last changes are kept, and each reader goes through them at its own pace: one that resumes, or is slow, gets what it
missed, or is told of the gap and given a snapshot. Nothing is kept per reader.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from cortex.contract.event import NodeChange, NodeGap
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import SlotChange
from cortex.contract.node import HarnessHealth
from cortex.kit.event_stream import HEARTBEAT, HEARTBEAT_S, Bell, Since, message
from cortex.neuron.event import EventCounter

KEPT = 1000


class EventFeed:
    """The changes of one neuron process, as server-sent events."""

    def __init__(
        self,
        events: EventCounter,
        reports: Callable[[], Sequence[InstanceReport]],
        health: Callable[[], Sequence[HarnessHealth]],
        slots: Callable[[], Sequence[SlotChange]] = tuple,
        is_in_maintenance: Callable[[], bool] = bool,
        *,
        kept: int = KEPT,
    ) -> None:
        self._events = events
        self._reports = reports
        self._health = health
        self._slots = slots
        self._is_in_maintenance = is_in_maintenance
        self._kept: deque[NodeChange] = deque(maxlen=kept)
        self._models = _steady(reports())
        self._harnesses = {harness.name: harness for harness in health()}
        self._granted = _by_holder(slots())
        self._maintenance = is_in_maintenance()
        self._bell = Bell()
        self._is_closed = False
        events.watch(self._note)

    def close(self) -> None:
        """End every stream."""
        self._is_closed = True
        self._bell.ring()

    async def stream(self, since: Since | None, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
        """Yield what a reader has not seen, at once, and a comment now and then when there is nothing."""
        start_id, last = self._events.start_id, since
        seen = since.event if since is not None and since.start_id in (None, start_id) else -1
        while not self._is_closed:
            if not self._has_all_after(seen):
                if last is not None:
                    yield self._gap(last)
                seen = self._events.event
                last = Since(start_id, seen)
                yield self._snapshot()
                continue
            changes = self.after(seen)
            for change in changes:
                seen = change.event
                yield message("change", change, Since(start_id, seen))
            last = Since(start_id, seen)
            if not changes and not await self._bell.wait(heartbeat_s):
                yield HEARTBEAT

    def since(self, seen: int) -> NodeChange | None:
        """Return all changes after ``seen`` as one, models as they are now; None when not all of them are kept."""
        if not self._has_all_after(seen):
            return None
        changes = self.after(seen)
        touched = {report.id for change in changes for report in change.models}.union(*(c.gone for c in changes))
        harnesses = {harness.name for change in changes for harness in change.harnesses}
        models = tuple(report for report in self._reports() if report.id in touched)
        return NodeChange(
            start_id=self._events.start_id,
            event=self._events.event,
            models=models,
            gone=tuple(sorted(touched - {report.id for report in models})),
            harnesses=tuple(harness for harness in self._health() if harness.name in harnesses),
        )

    def whole(self) -> NodeChange:
        """Return everything as it is now; slots as they were last told, since leases may end between two changes."""
        return NodeChange(
            start_id=self._events.start_id,
            event=self._events.event,
            models=tuple(self._reports()),
            harnesses=tuple(self._health()),
            slots=tuple(self._granted.values()),
            maintenance=self._is_in_maintenance(),
        )

    def _note(self) -> None:
        """Keep what the newest change has changed, and wake the readers."""
        models, harnesses = _steady(self._reports()), {harness.name: harness for harness in self._health()}
        granted, maintenance = _by_holder(self._slots()), self._is_in_maintenance()
        changed = {key for key, report in models.items() if self._models.get(key) != report}
        self._kept.append(
            NodeChange(
                start_id=self._events.start_id,
                event=self._events.event,
                models=tuple(report for report in self._reports() if report.id in changed),
                gone=tuple(key for key in self._models if key not in models),
                harnesses=tuple(h for name, h in harnesses.items() if self._harnesses.get(name) != h),
                slots=_changed_slots(self._granted, granted),
                maintenance=None if maintenance == self._maintenance else maintenance,
            )
        )
        self._models, self._harnesses = models, harnesses
        self._granted, self._maintenance = granted, maintenance
        self._bell.ring()

    def _has_all_after(self, seen: int) -> bool:
        """Tell whether every change after ``seen`` is kept; one that has not been yet was never seen."""
        oldest = self._kept[0].event if self._kept else self._events.event + 1
        return oldest - 1 <= seen <= self._events.event

    def after(self, seen: int) -> list[NodeChange]:
        """Return the changes after ``seen`` that are kept."""
        return [change for change in self._kept if change.event > seen]

    def _snapshot(self) -> bytes:
        return message("snapshot", self.whole(), Since(self._events.start_id, self._events.event))

    def _gap(self, since: Since) -> bytes:
        return message("gap", NodeGap(start_id=self._events.start_id, event=self._events.event, since=str(since)))


def _steady(reports: Sequence[InstanceReport]) -> dict[str, InstanceReport]:
    """Return reports without what changes all the time and is no change of state."""
    return {
        report.id: msgspec.structs.replace(
            report,
            in_flight=0,
            waiting=0,
            idle_s=None,
            vram_used_mb=None,
            protected_s=0.0,
            silent_s=None if report.silent_s is None else 0.0,
        )
        for report in reports
    }


def _by_holder(slots: Sequence[SlotChange]) -> dict[tuple[str, str, int], SlotChange]:
    return {(change.gateway_id, change.model_id, change.generation): change for change in slots}


def _changed_slots(
    before: dict[tuple[str, str, int], SlotChange], after: dict[tuple[str, str, int], SlotChange]
) -> tuple[SlotChange, ...]:
    """Return what is otherwise; a lease that has ended has no slots."""
    ended = (msgspec.structs.replace(change, slots=0) for key, change in before.items() if key not in after)
    return (*ended, *(change for key, change in after.items() if before.get(key) != change))
