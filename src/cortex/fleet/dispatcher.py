"""The machine that decides for every request where it goes: ``handle(event, now_s) -> effects``.

A request that arrives:
1. a replica is ready and has a slot free: granted at once (the hot path: dict look-ups and one small object);
2. the name is unknown: waits until every node has been asked once since start, then is refused;
3. a replica could still serve it (slots busy, endpoint being asked for, resting after a failure): waits its turn;
4. a load of the model is under way: joins it; nobody's leaving ever stops a load;
5. else ``load_choice`` says: load, wait, or refuse.

Every grant is ended by one ``RequestFinished``; unknown tickets are ignored, because a refusal and a departure may
cross. What happens on which event is decided in its rooms, which share one ``floor``: ``arrival``, ``news``,
``loading``, ``upkeep``, ``renewal``.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cortex.contract.profile import Profile
from cortex.fleet import event as happened
from cortex.fleet.arrival import Arrival
from cortex.fleet.decision import DecisionLog
from cortex.fleet.desk import Desk
from cortex.fleet.effect import Effect, PostLeases, Target
from cortex.fleet.explain import Explanation, explain, explain_found
from cortex.fleet.floor import Floor, Policy
from cortex.fleet.forecast import outlook_of
from cortex.fleet.knowledge import Knowledge
from cortex.fleet.load_choice import sized
from cortex.fleet.loading import Loading
from cortex.fleet.news import News
from cortex.fleet.outlook import Outlook
from cortex.fleet.picture import picture_of, queues_of
from cortex.fleet.renewal import Renewal
from cortex.fleet.upkeep import Upkeep
from cortex.fleet.view import FleetView, QueueView

__all__ = ["Dispatcher", "Policy"]


class Dispatcher:
    """The one writer of what this gateway knows of the fleet. Not thread-safe, never blocks."""

    def __init__(
        self,
        nodes: Iterable[str],
        profiles: Iterable[Profile] = (),
        *,
        policy: Policy | None = None,
        started_s: float = 0.0,
        gateway_id: str = "gateway",
    ) -> None:
        self._floor = floor = Floor(nodes, profiles, policy or Policy(), started_s, gateway_id)
        self._leasing = floor.leasing
        self._loading = Loading(floor)
        self._upkeep = upkeep = Upkeep(floor, self._loading)
        self._renewal = Renewal(floor)
        arrival, news = Arrival(floor, self._loading), News(floor, self._loading, self._renewal)
        self._on: dict[type, Callable[[Any, float], list[Effect]]] = {
            happened.RequestArrived: arrival.arrived,
            happened.RequestFinished: arrival.finished,
            happened.RequestAnswered: arrival.answered,
            happened.NodeDiscovered: news.node_discovered,
            happened.NodeSampled: news.node_sampled,
            happened.NodeLost: news.node_lost,
            happened.PollDue: news.poll_due,
            happened.LeasesAnswered: news.leases_answered,
            happened.LeasesRefused: news.leases_refused,
            happened.NodeMissed: news.node_missed,
            happened.NodeChanged: news.node_changed,
            happened.CatalogueChanged: self._catalogue_changed,
            happened.EndpointFetched: news.endpoint_fetched,
            happened.EndpointFailed: news.endpoint_failed,
            happened.LoadSucceeded: self._load_succeeded,
            happened.LoadFailed: self._loading.failed,
            happened.LoadDeferred: self._loading.deferred,
            happened.LoadWanted: self._loading.wanted,
            happened.UnloadFinished: self._unload_finished,
            happened.RestartFinished: upkeep.restarted,
            happened.StewardChanged: upkeep.changed,
            happened.TargetSuspected: news.target_suspected,
            happened.Ticked: self._ticked,
        }

    def handle(self, event: happened.Event, now_s: float) -> list[Effect]:
        """Take in what happened and return what is to be done, in order."""
        leasing = self._leasing
        if now_s >= leasing.lapse_s:
            leasing.lapse(now_s)
        effects = self._on[type(event)](event, now_s)
        return [*effects, *leasing.flush(now_s)] if leasing.urgent else effects

    def desk(self, node: str) -> Desk:
        """Return the books of what this gateway has with a node, to be read only."""
        return self._floor.roster.desks[node]

    def goodbyes(self, now_s: float) -> list[PostLeases]:
        """Return the last reports of this gateway, which it is about to leave with."""
        return self._floor.leasing.goodbyes(now_s)

    @property
    def decisions(self) -> DecisionLog:
        """What was decided and why."""
        return self._floor.decisions

    def waiting(self) -> int:
        """Return how many requests wait for a place."""
        return len(self._floor.rooms)

    def in_flight(self) -> Iterator[tuple[str, str, int]]:
        """Go through (model, node, requests granted and not finished), pairs without requests left out."""
        return self._floor.in_flight()

    def loads_under_way(self) -> list[tuple[str, str]]:
        """Return (model, node) of every load that was asked for and not answered yet."""
        return [(flight.model, flight.node) for flight in self._floor.book.flights()]

    def is_settled(self, now_s: float) -> bool:
        """Tell whether every node has been asked once since start, or was given long enough."""
        return self._floor.is_settled(now_s)

    def are_all_nodes_tried(self) -> bool:
        """Tell whether every node has been asked once since start, with or without an answer."""
        return self._floor.roster.all_tried()

    def view(self, now_s: float) -> FleetView:
        """Return a picture of the fleet at ``now_s``."""
        return picture_of(self._floor.roster, self._floor.models.values(), self._floor.book, now_s)

    def queues(self, now_s: float) -> list[QueueView]:
        """Return who waits for which model, longest wait first."""
        return queues_of(self._floor.queued.values(), now_s)

    def explain(self, model: str, profile: Profile | None, now_s: float) -> Explanation:
        """Return for every node why a model would be loaded there or not; ``profile`` None: it was found on nodes."""
        floor, nodes = self._floor, self._floor.roster.nodes.values()
        facts = Knowledge(model, floor.models, floor.book, now_s)
        if profile is None:
            return explain_found(model, nodes, facts, floor.policy.strategy, now_s)
        known = floor.models.get(model)
        wanted = profile if known is None else sized(known, profile)
        return explain(wanted, nodes, facts, floor.policy.strategy, now_s)

    def outlook(self, ticket: int, now_s: float) -> Outlook | None:
        """Return what a request that waits may be told, None when it does not wait."""
        return outlook_of(self._floor, ticket, now_s)

    def canonical_id(self, name: str) -> str:
        """Return the id that a name stands for, empty when it is unknown."""
        model = self._floor.by_name.get(name)
        return model.id if model is not None else ""

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return the id and the aliases of the model that a name stands for; nothing when it is unknown."""
        model = self._floor.by_name.get(name)
        if model is None:
            return ()
        return (model.id,) if model.profile is None else (model.id, *model.profile.aliases)

    def place_of(self, name: str, now_s: float) -> Target | None:
        """Return where a model is loaded, to be asked about it without a slot; None while it is loaded nowhere.

        Raises: what a request is refused with for a name that nothing answers to.
        """
        model = self._floor.by_name.get(name)
        if model is not None:
            return next((replica.target for replica in model.ready if replica.target is not None), None)
        if self._floor.is_settled(now_s):
            raise self._floor.unknown(name)
        return None

    def _catalogue_changed(self, event: happened.CatalogueChanged, now_s: float) -> list[Effect]:
        self._floor.take_profiles(event.profiles)
        self._renewal.judge_all(now_s)
        return self._loading.advance_all(now_s) + self._renewal.ticked(now_s)

    def _load_succeeded(self, event: happened.LoadSucceeded, now_s: float) -> list[Effect]:
        """Take in a load, perhaps by a catalogue that has changed meanwhile."""
        model = self._floor.know(event.model)
        effects = self._loading.succeeded(event, now_s)
        if event.node in model.replicas:
            self._renewal.judge(model, model.replicas[event.node], now_s)
            model.refresh(now_s)
        return effects

    def _unload_finished(self, event: happened.UnloadFinished, now_s: float) -> list[Effect]:
        self._renewal.unloaded(event, now_s)
        return self._upkeep.unloaded(event, now_s)

    def _ticked(self, _event: happened.Ticked, now_s: float) -> list[Effect]:
        self._leasing.look_after(self._floor.queued.values(), now_s)
        return self._loading.advance_all(now_s) + self._upkeep.ticked(now_s) + self._renewal.ticked(now_s)
