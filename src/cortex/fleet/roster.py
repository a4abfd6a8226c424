"""The configured nodes as last heard of: a picture of each, and the desk that keeps what this gateway has with it.

What is too old to be heard the desks decide; here it is put on record, at the cost of what has changed.
"""

from collections.abc import Iterable

import msgspec

from cortex import __version__
from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery
from cortex.contract.version import minors_apart, skew_trouble
from cortex.fleet.desk import DISCOVERY_S, Desk, News
from cortex.fleet.liveness import MISSES
from cortex.fleet.view import NodeView


class Roster:
    """All configured nodes, in configured order."""

    def __init__(
        self,
        names: Iterable[str],
        gateway_id: str = "gateway",
        *,
        misses: int = MISSES,
        discovery_s: float = DISCOVERY_S,
        version: str = __version__,
    ) -> None:
        self.nodes: dict[str, NodeView] = {name: NodeView(name=name) for name in names}
        self.desks = {name: Desk(name, gateway_id, misses=misses, discovery_s=discovery_s) for name in self.nodes}
        self._listed_on: dict[str, set[str]] = {}
        """By model, the nodes that report it."""
        self._are_all_tried = False
        self._version = version
        self._troubles: dict[str, dict[str, str]] = {}
        """By node and by what they are about."""

    def take(self, node: str, news: News) -> None:
        """Put news of a node on record."""
        desk, view = self.desks[node], self.nodes[node]
        for report in news.reports:
            self._listed_on.setdefault(report.id, set()).add(node)
        for model in news.gone:
            self._strike_off(model, node)
        changes: dict[str, object] = {"start_id": desk.start_id, "event": desk.event}
        if news.health is not None:
            changes["health"] = news.health
        if news.reports or news.gone:
            changes |= _models_of(desk)
        self.nodes[node] = msgspec.structs.replace(view, **changes)
        self.hear(node)

    def hear(self, node: str) -> None:
        """Put on record that a node answers, where it does."""
        view = self.nodes[node]
        if self.desks[node].live.is_healthy and not (view.is_healthy and view.is_tried):
            self._change(node, is_healthy=True, is_tried=True, why="")

    def discover(self, node: str, discovery: Discovery, now_s: float = 0.0) -> None:
        """Put what a neuron told of its host on record."""
        if node in self.desks:
            self.desks[node].discovered(discovery, now_s)
        theirs = discovery.neuron_version
        self._change(node, discovery=discovery, version_skew=minors_apart(theirs, self._version))
        self._put_trouble(node, "version", skew_trouble(theirs, self._version, "the neuron"))

    def put_report(self, node: str, report: InstanceReport, now_s: float = 0.0) -> None:
        """Put what was seen of one model on record, ahead of what the node tells."""
        desk = self.desks.get(node)
        if desk is not None and desk.seen(report, now_s):
            self._listed_on.setdefault(report.id, set()).add(node)
            self._change(node, **_models_of(desk))

    def lose(self, node: str, why: str) -> None:
        """Put on record that a node does not answer; what it last said is kept."""
        self._change(node, is_healthy=False, is_tried=True, why=why)

    def trouble(self, node: str, what: str) -> None:
        """Put on record what is wrong between a node and this gateway, and stays so."""
        self._put_trouble(node, "name", what)

    def all_tried(self) -> bool:
        """Tell whether every node was asked once, with or without an answer, and is not being asked what it is."""
        if not self._are_all_tried:
            tried = (view.is_tried and not self._is_being_discovered(view) for view in self.nodes.values())
            self._are_all_tried = all(tried)
        return self._are_all_tried

    def any_healthy(self) -> bool:
        """Tell whether a node is healthy."""
        return any(node.is_healthy for node in self.nodes.values())

    def is_listed(self, model: str) -> bool:
        """Tell whether any node last reported a model."""
        return model in self._listed_on

    def _is_being_discovered(self, view: NodeView) -> bool:
        return view.is_healthy and view.discovery is None and self.desks[view.name].is_being_discovered

    def _strike_off(self, model: str, node: str) -> None:
        nodes = self._listed_on.get(model)
        if nodes is not None:
            nodes.discard(node)
            if not nodes:
                del self._listed_on[model]

    def _put_trouble(self, node: str, about: str, what: str) -> None:
        """Put one on record, in place of the last one about the same; empty: there is none any more."""
        kept = self._troubles.setdefault(node, {})
        if kept.get(about, "") != what:
            kept[about] = what
            self._change(node, troubles=tuple(text for text in kept.values() if text))

    def _change(self, node: str, **changes: object) -> None:
        view = self.nodes.get(node)
        if view is not None:
            self.nodes[node] = msgspec.structs.replace(view, **changes)


def _models_of(desk: Desk) -> dict[str, object]:
    listing = desk.listing
    return {
        "models": tuple(listing.reports.values()),
        "worked_s": dict(listing.worked_s),
        "safe_until_s": dict(listing.safe_until_s),
    }
