"""The configured nodes as last heard of, and which news of them is too old to be heard.

A sample is dropped whole when the question was sent before that of one already taken, when its ``event`` is lower than
one already seen of the same ``start_id``, or when it speaks for a life of the neuron that is known to be over.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery
from cortex.fleet.event import NodeSampled
from cortex.fleet.view import NodeView

LIVES_REMEMBERED = 8


class _Version:
    """What the newest taken sample of one node said of its own age."""

    __slots__ = ("asked_s", "event", "past", "start_id")

    def __init__(self) -> None:
        self.asked_s = float("-inf")
        self.start_id = ""
        self.event = 0
        self.past: deque[str] = deque(maxlen=LIVES_REMEMBERED)

    def takes(self, sample: NodeSampled) -> bool:
        if sample.asked_s < self.asked_s or sample.start_id in self.past:
            return False
        if sample.start_id != self.start_id:
            if self.start_id:
                self.past.append(self.start_id)
        elif sample.event < self.event:
            return False
        self.asked_s, self.start_id, self.event = sample.asked_s, sample.start_id, sample.event
        return True


class Roster:
    """All configured nodes, in configured order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.nodes: dict[str, NodeView] = {name: NodeView(name=name) for name in names}
        self._versions = {name: _Version() for name in self.nodes}

    def take_sample(self, sample: NodeSampled) -> bool:
        """Put a sample on record and return True, unless it is too old or of a node nobody configured."""
        version = self._versions.get(sample.node)
        if version is None or not version.takes(sample):
            return False
        self._change(
            sample.node,
            is_healthy=True,
            is_tried=True,
            why="",
            health=sample.health,
            models=sample.models,
            start_id=version.start_id,
            event=version.event,
            worked_s={r.id: sample.asked_s - r.idle_s for r in sample.models if r.idle_s is not None},
            safe_until_s={r.id: sample.asked_s + r.protected_s for r in sample.models if r.protected_s > 0},
        )
        return True

    def start_id_of(self, node: str) -> str:
        """Return the life of the neuron that was last heard of, empty when unknown."""
        version = self._versions.get(node)
        return version.start_id if version is not None else ""

    def event_of(self, node: str) -> int:
        """Return the newest event that a sample of the node told of, 0 when none did."""
        version = self._versions.get(node)
        return version.event if version is not None else 0

    def discover(self, node: str, discovery: Discovery) -> None:
        """Put what a neuron told of its host on record."""
        self._change(node, discovery=discovery)

    def put_report(self, node: str, report: InstanceReport) -> None:
        """Put what was seen of one model on record, ahead of the next sample."""
        view = self.nodes.get(node)
        if view is not None:
            others = tuple(other for other in view.models if other.id != report.id)
            self._change(node, models=(*others, report))

    def lose(self, node: str, why: str) -> None:
        """Put on record that a node does not answer; what it last said is kept."""
        self._change(node, is_healthy=False, is_tried=True, why=why)

    def all_tried(self) -> bool:
        """Tell whether every node was asked once, with or without an answer."""
        return all(node.is_tried for node in self.nodes.values())

    def any_healthy(self) -> bool:
        """Tell whether a node is healthy."""
        return any(node.is_healthy for node in self.nodes.values())

    def reported_models(self) -> set[str]:
        """Return the ids of all models that any node last reported."""
        return {report.id for node in self.nodes.values() for report in node.models}

    def _change(self, node: str, **changes: object) -> None:
        view = self.nodes.get(node)
        if view is not None:
            self.nodes[node] = msgspec.structs.replace(view, **changes)
