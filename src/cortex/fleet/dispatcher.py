"""The machine that decides for every request where it goes: ``handle(event, now_s) -> effects``.

A request that arrives:
1. a replica is ready and has a slot free: granted at once (the hot path: dict look-ups and one small object);
2. the name is unknown: waits until every node has been asked once since start, then is refused;
3. a replica could still serve it (slots busy, endpoint being asked for, resting after a failure): waits its turn;
4. a load of the model is under way: joins it; nobody's leaving ever stops a load;
5. else ``load_choice`` says: load, wait, or refuse.

Level-triggered: every news of the fleet looks at every queue again, so a lost message delays and never strands. Every
grant is ended by one ``RequestFinished``; unknown tickets are ignored, because a refusal and a departure may cross.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from cortex.contract import error
from cortex.contract.profile import Profile
from cortex.fleet import event as happened
from cortex.fleet import refusal
from cortex.fleet.effect import Effect, FetchEndpoint, Grant, Refuse, StartLoad
from cortex.fleet.load_book import LoadBook
from cortex.fleet.load_choice import Load, Refusal, choose_load
from cortex.fleet.model import Model
from cortex.fleet.picture import picture_of
from cortex.fleet.reconcile import succeed, take_absence, take_endpoint, take_report
from cortex.fleet.replica import Replica
from cortex.fleet.resolve import describe_unknown, name_table
from cortex.fleet.roster import Roster
from cortex.fleet.view import FleetView
from cortex.fleet.waiting import Room, Waiting, overdue


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    load_timeout_s: float = 600.0
    """A request that has waited this long is refused; also bounds waiting for a slot."""
    settle_s: float = 5.0
    """How long after start a node that has not answered can hold up decisions."""


class Dispatcher:
    """The one writer of what this gateway knows of the fleet. Not thread-safe, never blocks."""

    def __init__(
        self,
        nodes: Iterable[str],
        profiles: Iterable[Profile] = (),
        *,
        policy: Policy | None = None,
        started_s: float = 0.0,
    ) -> None:
        self._policy = policy or Policy()
        self._started_s = started_s
        self._roster = Roster(nodes)
        self._book = LoadBook()
        self._models: dict[str, Model] = {}
        self._by_name: dict[str, Model] = {}
        self._granted: dict[int, Replica] = {}
        self._rooms: dict[int, Room] = {}
        self._unresolved = Room()
        self._take_profiles(profiles)
        self._on: dict[type, Callable[[Any, float], list[Effect]]] = {
            happened.RequestArrived: self._request_arrived,
            happened.RequestFinished: self._request_finished,
            happened.NodeDiscovered: self._node_discovered,
            happened.NodeSampled: self._node_sampled,
            happened.NodeLost: self._node_lost,
            happened.CatalogueChanged: self._catalogue_changed,
            happened.EndpointFetched: self._endpoint_fetched,
            happened.EndpointFailed: self._endpoint_failed,
            happened.LoadSucceeded: self._load_succeeded,
            happened.LoadFailed: self._load_failed,
            happened.TargetSuspected: self._target_suspected,
            happened.Ticked: self._ticked,
        }

    def handle(self, event: happened.Event, now_s: float) -> list[Effect]:
        """Take in what happened and return what is to be done, in order."""
        return self._on[type(event)](event, now_s)

    def waiting(self) -> int:
        """Return how many requests wait for a place."""
        return len(self._rooms)

    def in_flight(self) -> Iterator[tuple[str, str, int]]:
        """Go through (model, node, requests granted and not finished), pairs without requests left out."""
        for model in self._models.values():
            counts: dict[str, int] = {}
            for replica in (*model.replicas.values(), *model.retired):
                if replica.in_flight:
                    counts[replica.node] = counts.get(replica.node, 0) + replica.in_flight
            for node, count in counts.items():
                yield model.id, node, count

    def loads_under_way(self) -> list[tuple[str, str]]:
        """Return (model, node) of every load that was asked for and not answered yet."""
        return [(flight.model, flight.node) for flight in self._book.flights()]

    def is_settled(self, now_s: float) -> bool:
        """Tell whether every node has been asked once since start, or was given long enough."""
        return self._roster.all_tried() or now_s - self._started_s >= self._policy.settle_s

    def are_all_nodes_tried(self) -> bool:
        """Tell whether every node has been asked once since start, with or without an answer."""
        return self._roster.all_tried()

    def view(self, now_s: float) -> FleetView:
        """Return a picture of the fleet at ``now_s``."""
        return picture_of(self._roster, self._models.values(), self._book, now_s)

    def canonical_id(self, name: str) -> str:
        """Return the id that a name stands for, empty when it is unknown."""
        model = self._by_name.get(name)
        return model.id if model is not None else ""

    # Requests

    def _request_arrived(self, event: happened.RequestArrived, now_s: float) -> list[Effect]:
        model = self._by_name.get(event.name)
        if model is not None:
            replica = model.pick(event.avoid)
            if replica is not None and replica.target is not None:
                replica.in_flight += 1
                replica.last_used_s = now_s
                self._granted[event.ticket] = replica
                return [Grant(event.ticket, replica.target)]
        waiting = Waiting(event.ticket, event.name, event.avoid, now_s)
        if model is not None:
            return self._wait_for(model, waiting, now_s)
        self._seat(waiting, self._unresolved)
        return [self._refuse_unknown(waiting)] if self.is_settled(now_s) else []

    def _request_finished(self, event: happened.RequestFinished, now_s: float) -> list[Effect]:
        replica = self._granted.pop(event.ticket, None)
        if replica is None:
            room = self._rooms.pop(event.ticket, None)
            if room is not None:
                del room[event.ticket]
            return []
        replica.in_flight -= 1
        replica.last_used_s = now_s
        model = self._models[replica.model]
        if replica.state == "dropped" and not replica.in_flight:
            model.retired.remove(replica)
            self._tidy()
        return self._grant_waiting(model, now_s) if model.waiting else []

    def _wait_for(self, model: Model, waiting: Waiting, now_s: float) -> list[Effect]:
        """Seat a newcomer; the whole queue is looked at only where the newcomer's own lot does not settle it."""
        self._seat(waiting, model.waiting)
        model.refresh(now_s)
        grants = self._grant_waiting(model, now_s)
        if waiting.ticket not in self._rooms or model.has_hope(waiting):
            return grants
        if self._book.flight_of(model.id) is not None:
            waiting.is_cold = True
            return grants
        return grants + self._advance(model, now_s)

    def _seat(self, waiting: Waiting, room: Room) -> None:
        room[waiting.ticket] = waiting
        self._rooms[waiting.ticket] = room

    def _unseat(self, waiting: Waiting) -> None:
        del self._rooms.pop(waiting.ticket)[waiting.ticket]

    def _grant_waiting(self, model: Model, now_s: float) -> list[Effect]:
        """Grant in order of arrival. Who avoids a target may be passed over; nobody else is."""
        served: list[tuple[Waiting, Replica]] = []
        for waiting in model.waiting.values():
            replica = model.pick(waiting.avoid)
            if replica is not None:
                replica.in_flight += 1
                replica.last_used_s = now_s
                served.append((waiting, replica))
            elif not waiting.avoid:
                break
        return [self._grant(waiting, replica) for waiting, replica in served]

    def _grant(self, waiting: Waiting, replica: Replica) -> Grant:
        self._unseat(waiting)
        self._granted[waiting.ticket] = replica
        return Grant(waiting.ticket, replica.aimed(), waiting.is_cold)

    def _refuse(self, waiting: Waiting, cause: error.CortexError, model: str, node: str = "") -> Refuse:
        self._unseat(waiting)
        return Refuse(waiting.ticket, cause, model, node)

    def _refuse_unknown(self, waiting: Waiting) -> Refuse:
        if not self._roster.any_healthy():
            return self._refuse(waiting, refusal.no_healthy_node(self._roster.nodes.values()), "")
        table = {name: model.id for name, model in self._by_name.items()}
        return self._refuse(waiting, error.ModelNotFound(describe_unknown(waiting.name, table), model=waiting.name), "")

    # Queues

    def _advance_all(self, now_s: float) -> list[Effect]:
        """Look at every queue again."""
        effects: list[Effect] = []
        for waiting in list(self._unresolved.values()):
            model = self._by_name.get(waiting.name)
            if model is not None:
                self._unseat(waiting)
                self._seat(waiting, model.waiting)
            elif self.is_settled(now_s):
                effects.append(self._refuse_unknown(waiting))
        for model in list(self._models.values()):
            model.refresh(now_s)
            if model.waiting:
                effects += self._advance(model, now_s)
        return effects

    def _advance(self, model: Model, now_s: float) -> list[Effect]:
        """Grant what can be granted, refuse whose patience is over, and see to those for whom there is no hope yet."""
        effects = self._grant_waiting(model, now_s)
        effects += self._refuse_late(model, now_s)
        stuck = model.stuck()
        if stuck and self._book.flight_of(model.id) is None:
            is_settled = self.is_settled(now_s)
            choice = choose_load(model, self._roster, self._book, is_settled=is_settled, now_s=now_s)
            if isinstance(choice, Refusal):
                effects += [self._refuse(waiting, choice.error, model.id, choice.node) for waiting in stuck]
                model.tried.clear()
            elif isinstance(choice, Load):
                self._book.start(choice.node, model.id, now_s)
                model.tried.append(choice.node)
                effects.append(StartLoad(choice.node, choice.request))
        if self._book.flight_of(model.id) is not None:
            for waiting in stuck:
                waiting.is_cold = True
        return effects

    def _refuse_late(self, model: Model, now_s: float) -> list[Effect]:
        late = overdue(model.waiting, now_s, self._policy.load_timeout_s)
        if not late:
            return []
        flight = self._book.flight_of(model.id)
        node = flight.node if flight is not None else ""
        refused: list[Effect] = []
        for waiting in late:
            waited_s = now_s - waiting.since_s
            if model.ready and not waiting.avoid:
                refused.append(self._refuse(waiting, refusal.no_slot(model.id, waited_s), model.id))
            else:
                refused.append(self._refuse(waiting, refusal.still_loading(model.id, node, waited_s), model.id, node))
        return refused

    def _ticked(self, _event: happened.Ticked, now_s: float) -> list[Effect]:
        return self._advance_all(now_s)

    # News of the fleet

    def _node_discovered(self, event: happened.NodeDiscovered, now_s: float) -> list[Effect]:
        self._roster.discover(event.node, event.discovery)
        return self._advance_all(now_s)

    def _node_lost(self, event: happened.NodeLost, now_s: float) -> list[Effect]:
        self._roster.lose(event.node, event.why)
        return self._advance_all(now_s)

    def _catalogue_changed(self, event: happened.CatalogueChanged, now_s: float) -> list[Effect]:
        self._take_profiles(event.profiles)
        return self._advance_all(now_s)

    def _node_sampled(self, event: happened.NodeSampled, now_s: float) -> list[Effect]:
        life_before, event_before = self._roster.start_id_of(event.node), self._roster.event_of(event.node)
        if not self._roster.take_sample(event):
            return []
        is_new_life = life_before not in ("", event.start_id)
        fetches: list[Effect] = []
        reported = {report.id: report for report in event.models}
        for report in reported.values():
            must_fetch = take_report(
                self._models.setdefault(report.id, Model(report.id)),
                event.node,
                report,
                asked_s=event.asked_s,
                now_s=now_s,
                is_new_life=is_new_life,
                is_news=not event.event or event.event != event_before,
                is_load_here=self._book.is_under_way(event.node, report.id),
            )
            if must_fetch:
                fetches.append(FetchEndpoint(event.node, report.id))
        for model in self._models.values():
            if model.id not in reported:
                take_absence(model, event.node, asked_s=event.asked_s)
        self._tidy()
        return fetches + self._advance_all(now_s)

    def _endpoint_fetched(self, event: happened.EndpointFetched, now_s: float) -> list[Effect]:
        model = self._models.get(event.model)
        replica = model.replicas.get(event.node) if model is not None else None
        if model is None or replica is None:
            return []
        if take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s):
            return [FetchEndpoint(event.node, event.model)]
        model.refresh(now_s)
        return self._advance(model, now_s)

    def _endpoint_failed(self, event: happened.EndpointFailed, now_s: float) -> list[Effect]:
        model = self._models.get(event.model)
        replica = model.replicas.get(event.node) if model is not None else None
        if model is None or replica is None:
            return []
        replica.is_fetching = False
        return self._advance(model, now_s)

    def _load_succeeded(self, event: happened.LoadSucceeded, now_s: float) -> list[Effect]:
        model = self._models.setdefault(event.model, Model(event.model))
        self._book.land(event.node, event.model)
        self._book.forgive(event.node, event.model)
        if event.report is not None:
            self._roster.put_report(event.node, event.report)
        model.tried.clear()
        replica = model.replicas.get(event.node)
        if replica is None:
            replica = succeed(model, event.node, event.endpoint.generation, now_s)
        if replica.state == "draining":
            replica.state = "pending"
        must_fetch = take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s)
        if event.parallel is not None:
            model.replicas[event.node].set_parallel(event.parallel)
        self._tidy()
        model.refresh(now_s)
        fetches: list[Effect] = [FetchEndpoint(event.node, event.model)] if must_fetch else []
        return fetches + self._advance(model, now_s)

    def _load_failed(self, event: happened.LoadFailed, now_s: float) -> list[Effect]:
        self._book.land(event.node, event.model)
        self._book.fail(
            event.node, event.model, code=event.code, message=event.message, log_tail=event.log_tail, now_s=now_s
        )
        model = self._models.get(event.model)
        if model is None:
            return []
        if not model.waiting:
            model.tried.clear()
        return self._advance(model, now_s)

    def _target_suspected(self, event: happened.TargetSuspected, now_s: float) -> list[Effect]:
        """Ask the neuron again. A burst of failures counts once: what was sent before is no news of what is now."""
        target = event.target
        model = self._models.get(target.model)
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

    # Names

    def _take_profiles(self, profiles: Iterable[Profile]) -> None:
        by_id = {profile.id: profile for profile in profiles}
        for name in by_id:
            self._models.setdefault(name, Model(name))
        for model in self._models.values():
            model.profile = by_id.get(model.id)
        self._tidy()

    def _tidy(self) -> None:
        """Forget models that neither the catalogue nor a node nor a request knows, and index the others by name."""
        reported = self._roster.reported_models()
        for model in list(self._models.values()):
            is_wanted = model.profile is not None or model.id in reported or not model.is_idle()
            if not is_wanted and self._book.flight_of(model.id) is None:
                del self._models[model.id]
        profiles = [model.profile for model in self._models.values() if model.profile is not None]
        table = name_table(profiles, self._models)
        self._by_name = {name: self._models[canonical] for name, canonical in table.items()}
