"""What nodes tell, and what that changes: answers, changes, samples, endpoints, silence, targets that failed.

Only models that something is news of are touched. What a node lists as loaded and this gateway cannot use yet is looked
at again whenever the node is heard, so that a question that failed is asked again.
"""

from collections.abc import Iterable, Mapping
from math import inf

from cortex.contract.instance import InstanceReport, UnloadReason
from cortex.fleet import desk as protocol
from cortex.fleet import event as happened
from cortex.fleet.desk import Desk
from cortex.fleet.effect import AskDiscovery, Effect, FetchEndpoint
from cortex.fleet.floor import Floor
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.reconcile import take_absence, take_endpoint, take_report
from cortex.fleet.renewal import Renewal
from cortex.fleet.replica import Replica
from cortex.fleet.view import NodeView

LEFT_BY_ITSELF: Mapping[UnloadReason | None, str] = {
    "idle": "its node has unloaded it: it had no work for as long as its load allows",
    "pressure": "its node has unloaded it: others have taken too much memory there",
}


class News:
    """Takes in what is heard of nodes."""

    def __init__(self, floor: Floor, loading: Loading, renewal: Renewal) -> None:
        self._floor = floor
        self._loading = loading
        self._renewal = renewal
        self._unready: dict[str, dict[str, None]] = {}
        """By node: models that it lists as loaded and that cannot be used."""

    # Of nodes

    def poll_due(self, event: happened.PollDue, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        if desk is None:
            return []
        return [*self._discover(desk, now_s), *self._floor.leasing.due(event.node, now_s)]

    def node_discovered(self, event: happened.NodeDiscovered, now_s: float) -> list[Effect]:
        self._floor.roster.discover(event.node, event.discovery, now_s)
        desk = self._floor.roster.desks.get(event.node)
        if desk is not None:
            self._floor.leasing.apply_all(desk, now_s)
        return self._loading.advance_all(now_s)

    def leases_answered(self, event: happened.LeasesAnswered, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        if desk is None:
            return []
        news = desk.answered(event, now_s) or protocol.News()
        self._floor.leasing.count(desk, event.answer.in_use, event.sent_s)
        return self._take(desk, news, now_s)

    def node_sampled(self, event: happened.NodeSampled, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        news = None if desk is None else desk.sampled(event, now_s)
        if desk is None:
            return []
        return self._take(desk, news or protocol.News(), now_s, asked_s=event.asked_s if news is not None else -inf)

    def node_changed(self, event: happened.NodeChanged, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        news = None if desk is None else desk.changed(event, now_s)
        if desk is None:
            return []
        self._floor.leasing.urgent.add(desk.node)
        return [] if news is None else self._take(desk, news, now_s)

    def leases_refused(self, event: happened.LeasesRefused, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        if desk is None:
            return []
        is_unhealthy = desk.refused(event, now_s)
        if desk.trouble:
            self._floor.roster.trouble(desk.node, desk.trouble)
            self._floor.leasing.apply_all(desk, now_s)
        return self._missed(desk, is_unhealthy, now_s)

    def node_missed(self, event: happened.NodeMissed, now_s: float) -> list[Effect]:
        desk = self._floor.roster.desks.get(event.node)
        return [] if desk is None else self._missed(desk, desk.missed(event, now_s), now_s)

    def node_lost(self, event: happened.NodeLost, now_s: float) -> list[Effect]:
        return self.node_missed(happened.NodeMissed(event.node, event.why, is_certain=True), now_s)

    # Of endpoints

    def endpoint_fetched(self, event: happened.EndpointFetched, now_s: float) -> list[Effect]:
        model, replica = self._replica_of(event.model, event.node)
        if model is None or replica is None:
            return []
        if take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s):
            return [FetchEndpoint(event.node, event.model)]
        self._floor.leasing.take_place(model.replicas[event.node], event.endpoint, event.asked_s, now_s)
        self._floor.book.forgive(event.node, event.model)  # whoever has loaded it, it can be loaded there
        model.refresh(now_s)
        return self._loading.advance(model, now_s)

    def endpoint_failed(self, event: happened.EndpointFailed, now_s: float) -> list[Effect]:
        model, replica = self._replica_of(event.model, event.node)
        if model is None or replica is None:
            return []
        replica.is_fetching = False
        self._unready.setdefault(event.node, {})[event.model] = None
        return self._loading.advance(model, now_s)

    def target_suspected(self, event: happened.TargetSuspected, now_s: float) -> list[Effect]:
        """Ask the neuron again. A burst of failures counts once: what was sent before is no news of what is now."""
        target = event.target
        model, replica = self._replica_of(target.model, target.node)
        if model is None or replica is None or replica.target is not target or not replica.is_in_use(now_s):
            return []
        if event.why == "gone":
            replica.doubt(now_s)  # no rest: an engine that lacks a path says the same, and is well
            replica.circuit.doubt()
        else:
            replica.strike(now_s)
        model.refresh(now_s)
        if replica.is_fetching:
            return []
        replica.is_fetching = True
        return [FetchEndpoint(target.node, target.model)]

    # What follows

    def _take(self, desk: Desk, news: protocol.News, now_s: float, asked_s: float = inf) -> list[Effect]:
        floor, node = self._floor, desk.node
        before = floor.roster.nodes[node]
        is_first = before.health is None
        floor.roster.take(node, news)
        self._note_evictions(node, now_s)
        self._note_departures(before, news.reports, now_s)
        fetches: list[Effect] = []
        touched: dict[str, Model] = {}
        for report in self._worth_a_look(desk, news.reports):
            model = touched[report.id] = floor.know(report.id)
            if self._take_report(desk, model, report, news, now_s, asked_s=asked_s):
                fetches.append(FetchEndpoint(node, report.id))
            if is_first and node in model.replicas:
                self._renewal.judge(model, model.replicas[node], now_s)
        for name in news.gone:
            self._unready.get(node, {}).pop(name, None)
            gone = floor.models.get(name)
            if gone is not None:
                touched[name] = gone
                take_absence(gone, node, asked_s=asked_s)
        floor.leasing.apply_all(desk, now_s)
        for model in touched.values():
            model.look_at(node, now_s)
        floor.forget_idle(touched)
        floor.leasing.urgent.add(node)
        asks = self._discover(desk, now_s, is_wanted=True) if news.wants_discovery else []
        return asks + fetches + self._loading.advance_all(now_s)

    def _take_report(
        self, desk: Desk, model: Model, report: InstanceReport, news: protocol.News, now_s: float, *, asked_s: float
    ) -> bool:
        node = desk.node
        must_fetch = take_report(
            model,
            node,
            report,
            asked_s=asked_s,
            now_s=now_s,
            is_new_life=news.is_new_life,
            is_news=news.has_moved,
            is_load_here=self._floor.book.is_under_way(node, report.id),
        )
        replica = model.replicas.get(node)
        if replica is not None:
            self._floor.leasing.apply(desk, replica, now_s)
        if replica is not None and report.status == "loaded" and replica.state != "ready":
            self._unready.setdefault(node, {})[report.id] = None
        else:
            self._unready.get(node, {}).pop(report.id, None)
        return must_fetch

    def _note_evictions(self, node: str, now_s: float) -> None:
        for one in self._floor.proposals.seen(self._floor.roster.nodes[node], now_s):
            self._floor.decisions.note(
                "eviction", f"{one.by} needed its room", now_s=now_s, model=one.victim, node=node, caller=one.caller,
                by=one.by, why="room",
            )  # fmt: skip

    def _note_departures(self, before: NodeView, reports: Iterable[InstanceReport], now_s: float) -> None:
        """Put on record what a node has unloaded unasked."""
        for report in reports:
            words, why = LEFT_BY_ITSELF.get(report.unload_reason), report.unload_reason
            known = before.report_of(report.id) if words and report.status == "unloaded" else None
            if words and known and known.status != "unloaded" and known.generation == report.generation:
                self._floor.decisions.note("unload", words, now_s=now_s, model=report.id, node=before.name, why=why)

    def _worth_a_look(self, desk: Desk, reports: Iterable[InstanceReport]) -> list[InstanceReport]:
        """Return the reports that are news, and those of models that should be of use and are not."""
        by_id = {report.id: report for report in reports}
        for name in self._unready.get(desk.node, ()):
            report = desk.listing.reports.get(name)
            if report is not None:
                by_id.setdefault(name, report)
        return list(by_id.values())

    def _missed(self, desk: Desk, is_unhealthy: bool, now_s: float) -> list[Effect]:
        self._floor.leasing.urgent.add(desk.node)
        if not is_unhealthy:
            return []
        self._floor.roster.lose(desk.node, desk.live.why)
        self._floor.leasing.apply_all(desk, now_s)
        return self._loading.advance_all(now_s)

    def _discover(self, desk: Desk, now_s: float, *, is_wanted: bool = False) -> list[Effect]:
        return [AskDiscovery(desk.node)] if desk.asks_discovery(now_s, is_wanted=is_wanted) else []

    def _replica_of(self, name: str, node: str) -> tuple[Model | None, Replica | None]:
        model = self._floor.models.get(name)
        return model, model.replicas.get(node) if model is not None else None
