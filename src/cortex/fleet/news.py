"""What nodes tell, and what that changes: samples, endpoints, silence, targets that failed."""

from cortex.fleet import event as happened
from cortex.fleet.effect import Effect, FetchEndpoint
from cortex.fleet.floor import Floor
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.reconcile import take_absence, take_endpoint, take_report


class News:
    """Takes in what is heard of nodes."""

    def __init__(self, floor: Floor, loading: Loading) -> None:
        self._floor = floor
        self._loading = loading

    def node_discovered(self, event: happened.NodeDiscovered, now_s: float) -> list[Effect]:
        self._floor.roster.discover(event.node, event.discovery)
        return self._loading.advance_all(now_s)

    def node_lost(self, event: happened.NodeLost, now_s: float) -> list[Effect]:
        self._floor.roster.lose(event.node, event.why)
        return self._loading.advance_all(now_s)

    def node_sampled(self, event: happened.NodeSampled, now_s: float) -> list[Effect]:
        life_before, event_before = self._floor.roster.start_id_of(event.node), self._floor.roster.event_of(event.node)
        if not self._floor.roster.take_sample(event):
            return []
        is_new_life = life_before not in ("", event.start_id)
        fetches: list[Effect] = []
        reported = {report.id: report for report in event.models}
        for report in reported.values():
            must_fetch = take_report(
                self._floor.models.setdefault(report.id, Model(report.id)),
                event.node,
                report,
                asked_s=event.asked_s,
                now_s=now_s,
                is_new_life=is_new_life,
                is_news=not event.event or event.event != event_before,
                is_load_here=self._floor.book.is_under_way(event.node, report.id),
            )
            if must_fetch:
                fetches.append(FetchEndpoint(event.node, report.id))
        for model in self._floor.models.values():
            if model.id not in reported:
                take_absence(model, event.node, asked_s=event.asked_s)
        self._floor.tidy()
        for model in self._floor.models.values():
            model.refresh(now_s)
        return fetches + self._loading.advance_all(now_s)

    def endpoint_fetched(self, event: happened.EndpointFetched, now_s: float) -> list[Effect]:
        model = self._floor.models.get(event.model)
        replica = model.replicas.get(event.node) if model is not None else None
        if model is None or replica is None:
            return []
        if take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s):
            return [FetchEndpoint(event.node, event.model)]
        model.refresh(now_s)
        return self._loading.advance(model, now_s)

    def endpoint_failed(self, event: happened.EndpointFailed, now_s: float) -> list[Effect]:
        model = self._floor.models.get(event.model)
        replica = model.replicas.get(event.node) if model is not None else None
        if model is None or replica is None:
            return []
        replica.is_fetching = False
        return self._loading.advance(model, now_s)

    def target_suspected(self, event: happened.TargetSuspected, now_s: float) -> list[Effect]:
        """Ask the neuron again. A burst of failures counts once: what was sent before is no news of what is now."""
        target = event.target
        model = self._floor.models.get(target.model)
        replica = model.replicas.get(target.node) if model is not None else None
        if model is None or replica is None or replica.target is not target or not replica.is_grantable(now_s):
            return []
        if event.why == "gone":
            replica.doubt(now_s)  # no rest: an engine that lacks a path says the same, and is well
        else:
            replica.strike(now_s)
        model.refresh(now_s)
        if replica.is_fetching:
            return []
        replica.is_fetching = True
        return [FetchEndpoint(target.node, target.model)]
